# SPDX-License-Identifier: MIT OR Apache-2.0
"""A manager that admits whoever has its token, for tests of ``join``.

It speaks ``xvmp-join/1`` and nothing else. ``script`` holds what becomes of
the next answers, one each, as in ``peer``; with an empty script all goes well.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from authority import Authority
from cryptography.exceptions import InvalidTag
from lxml import etree
from noise.connection import Keypair, NoiseConnection
from peer import BAD, Bend, Bent

from xvmp import keys
from xvmp.credentials import Credentials
from xvmp.gate import NAMESPACE

WHO = "xvmp://smps-vmm/operator/newcomer"
ID = "00112233445566ff"


class Registrar:
    """A server on a port of its own; use it as a context."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        self.authority = authority
        self.credentials = Credentials.load(directory)
        self.secret = os.urandom(32)
        self.script: list[Bend] = []
        #: The public inner key of each application that proved the secret.
        self.applicants: list[bytes] = []
        #: What is said inside of message 2; None is a certificate.
        self.reply: str | None = None
        self.signs = authority
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = self._tls(directory).wrap_socket(
            self._server.socket, server_side=True, suppress_ragged_eofs=True
        )
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Registrar:
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(
        self, secret: bytes | None = None, pin: bytes | None = None
    ) -> str:
        """The token that it knows, or one with something else in it."""
        return ".".join((
            "xvmpj1", ID, text(secret or self.secret),
            text(pin or self.authority.pin),
        ))

    def join(self, body: bytes) -> bytes | None:
        """Message 1 to message 2; None when the secret is not proved."""
        found = re.fullmatch(
            rb'<Join xmlns="urn:smps-vmm:xvmp:1" version="1" token="(.*)">'
            rb"<Noise>(.*)</Noise></Join>", body,
        )
        assert found
        noise = self._noise(found[1].decode())
        try:
            request = noise.read_message(base64.b64decode(found[2]))
        except InvalidTag:
            return None
        state = noise.noise_protocol.handshake_state
        self.applicants.append(state.rs.public_bytes)
        root = etree.fromstring(bytes(request))
        assert root.tag == f"{{{NAMESPACE}}}JoinRequest"
        assert root.attrib.keys() == ["signing-request"]
        answer = self.reply or self._admitted(root.get("signing-request", ""))
        message_2 = base64.b64encode(noise.write_message(answer.encode()))
        return (
            f'<Joined xmlns="{NAMESPACE}" version="1">'
            f"<Noise>{message_2.decode()}</Noise></Joined>"
        ).encode()

    def _admitted(self, request: str) -> str:
        der = self.signs.sign(base64.b64decode(request), WHO)
        return (
            f'<Admitted xmlns="{NAMESPACE}" new="attribute"'
            f' certificate="{base64.b64encode(der).decode()}"/>'
        )

    def _noise(self, token: str) -> NoiseConnection:
        identity = self.credentials.identity
        noise = NoiseConnection.from_name(
            b"Noise_IKpsk1_25519_AESGCM_SHA256"
        )
        noise.set_as_responder()
        noise.set_psks(
            psk=hashlib.sha256(b"xvmp1 join" + self.secret).digest()
        )
        certificate = hashlib.sha256(identity.certificate).digest()
        noise.set_prologue(
            keys.lp("XVMP/1 join") + keys.lp(identity.principal)
            + keys.lp(certificate) + keys.lp(token)
        )
        noise.set_keypair_from_private_bytes(
            Keypair.STATIC, self.credentials.inner_key
        )
        noise.start_handshake()
        return noise

    def _tls(self, directory: Path) -> ssl.SSLContext:
        chain = directory / "chain.pem"
        chain.write_bytes(b"".join(
            (directory / name).read_bytes() for name in ("cert.pem", "ca.pem")
        ))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(chain, directory / "key.pem")
        context.set_alpn_protocols(["xvmp-join/1"])
        return context

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registrar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                assert self.path == "/xvmp/1/join"
                assert self.headers["Content-Type"] == keys.CONTENT_TYPE
                length = int(self.headers["Content-Length"])
                reply = registrar.join(self.rfile.read(length))
                answer: Bent = (400, {}, BAD) if reply is None else (
                    200, {}, reply
                )
                if registrar.script and reply is not None:
                    answer = registrar.script.pop(0)(reply)
                self.close_connection = True
                if answer is not None:
                    self._answer(*answer)

            def _answer(
                self, status: int, headers: dict[str, str], body: bytes
            ) -> None:
                self.send_response(status)
                self.send_header("Content-Type", keys.CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
