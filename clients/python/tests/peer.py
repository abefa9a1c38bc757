# SPDX-License-Identifier: MIT OR Apache-2.0
"""The other side, for tests of one client: a server that does as it is told.

It does the handshake as a responder, keeps its sessions, and answers ``Ping``.
``script`` holds what becomes of the next requests to /xvmp/1/rpc, one each;
with an empty script all goes well.
"""

from __future__ import annotations

import base64
import re
import ssl
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from lxml import etree
from noise.connection import Keypair, NoiseConnection

from xvmp import keys
from xvmp.credentials import Credentials
from xvmp.envelope import Channel, read
from xvmp.gate import NAMESPACE
from xvmp.keys import Direction, Header, SessionKeys

BAD = f'<Fault xmlns="{NAMESPACE}" code="BAD_MESSAGE"/>'.encode()
PONG = '<Pong text="pong"/>'

#: Bends a good answer: (status, headers, body), or None to hang up.
Bent = tuple[int, dict[str, str], bytes] | None
Bend = Callable[[bytes], Bent]


class Peer:
    """A server on a port of its own; use it as a context."""

    def __init__(self, directory: Path) -> None:
        self.credentials = Credentials.load(directory)
        self.sessions: dict[str, Channel] = {}
        self.requests: list[etree._Element] = []
        self.headers: list[Header] = []
        self.script: list[Bend] = []
        self.open_script: list[Bend] = []
        self.reply = PONG
        self.lifetime_s = 3600
        self.count_max = 1 << 20
        self.opened = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = self._tls(directory).wrap_socket(
            self._server.socket, server_side=True, suppress_ragged_eofs=True
        )
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Peer:
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def open(self, body: bytes) -> bytes:
        """Message 1 to message 2, as a responder."""
        message_1 = re.search(rb"<Noise>(.*)</Noise>", body)
        assert message_1
        noise = NoiseConnection.from_name(b"Noise_IK_25519_AESGCM_SHA256")
        noise.set_as_responder()
        identity = self.credentials.identity
        noise.set_prologue(
            keys.prologue(identity.principal, identity.certificate)
        )
        noise.set_keypair_from_private_bytes(
            Keypair.STATIC, self.credentials.inner_key
        )
        noise.start_handshake()
        hello = noise.read_message(base64.b64decode(message_1[1]))
        assert b'<Hello xmlns="urn:smps-vmm:xvmp:1"' in hello
        self.opened += 1
        session = uuid.uuid4().hex
        welcome = (
            f'<Welcome xmlns="{NAMESPACE}" session="{session}" minor="0"'
            f' lifetime-s="{self.lifetime_s}"'
            f' message-count-max="{self.count_max}"/>'
        )
        message_2 = bytes(noise.write_message(welcome.encode()))
        state = noise.noise_protocol
        derived = SessionKeys.derive(
            state.cipher_state_decrypt.k,
            state.cipher_state_encrypt.k,
            noise.get_handshake_hash(),
        )
        self.sessions[session] = Channel(session, derived, Direction.S2C)
        text = base64.b64encode(message_2).decode()
        return (
            f'<SessionOpened xmlns="{NAMESPACE}" version="1">'
            f"<Noise>{text}</Noise></SessionOpened>"
        ).encode()

    def rpc(self, body: bytes) -> bytes | None:
        """The answer to a request; None when its session is unknown."""
        channel = self.sessions.get(read(body).header.session)
        if channel is None:
            return None
        header, request = channel.open(body)
        self.headers.append(header)
        self.requests.append(request)
        return channel.seal(header.id, self.response)

    def response(self, header: Header) -> bytes:
        return (
            f'<Response xmlns="{NAMESPACE}" re="{header.id}"'
            f' session="{header.session}" dir="{header.dir}"'
            f' seq="{header.seq}">{self.reply}</Response>'
        ).encode()

    def _tls(self, directory: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(directory / "ca.pem")
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if self.path == "/xvmp/1/open":
                    answer: Bent = (200, {}, peer.open(body))
                    script = peer.open_script
                else:
                    reply = peer.rpc(body)
                    answer = (400, {}, BAD) if reply is None else (
                        200, {}, reply
                    )
                    script = peer.script
                if script and answer and answer[0] == 200:
                    answer = script.pop(0)(answer[2])
                self._answer(answer)

            def _answer(self, answer: Bent) -> None:
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                kind = headers.pop("Content-Type", keys.CONTENT_TYPE)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
