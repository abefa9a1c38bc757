# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sessions: the Noise IK handshake (section 4), and when one is old.

``Handshake`` writes message 1 into ``OpenSession``, reads message 2 from
``SessionOpened``, and derives the keys. Its prologue binds it to the
certificate of the very connection that carries it; the session may then be
used on any connection of ours.

What is not exactly so is a ``BadMessage``.
"""

from __future__ import annotations

from lxml import etree

from . import envelope, gate, handshake, keys, values
from .credentials import Credentials, Identity
from .faults import BadMessage
from .keys import Direction, Header, SessionKeys

OPEN_PATH = "/xvmp/1/open"
#: A new session is opened when this share of the old one is used.
RENEW_AT = 0.75

_NOISE = b"Noise_IK_25519_AESGCM_SHA256"
_HELLO = f'<Hello xmlns="{gate.NAMESPACE}" min-minor="0" max-minor="0"/>'


class Session:
    """A session as its client holds it; may be used by several threads."""

    def __init__(
        self,
        session_id: str,
        session_keys: SessionKeys,
        lifetime_s: int,
        message_count_max: int,
        opened_s: float,
    ) -> None:
        self.id = session_id
        self._channel = envelope.Channel(
            session_id, session_keys, Direction.C2S
        )
        self._renew_at_s = opened_s + lifetime_s * RENEW_AT
        self._renew_at_count = message_count_max * RENEW_AT

    def old(self, now_s: float) -> bool:
        """Whether new calls shall go to a new session."""
        return (
            now_s >= self._renew_at_s
            or self._channel.busiest_count >= self._renew_at_count
        )

    def seal_request(
        self,
        message_id: str,
        verb: etree._Element,
        idem: str | None,
        deadline_ms: int,
    ) -> bytes:
        """A request around a verb's element; each time with a new number."""

        def content(header: Header) -> bytes:
            return request_bytes(header, verb, idem, deadline_ms)

        return self._channel.seal(message_id, content)

    def open_response(
        self, document: bytes, message_id: str
    ) -> etree._Element:
        """The one element in the answer to the request with this id."""
        header, response = self._channel.open(document)
        if header.id != message_id:
            raise BadMessage
        if response.tag != f"{{{gate.NAMESPACE}}}Response":
            raise BadMessage
        if len(response) != 1:
            raise BadMessage
        return response[0]


class Handshake:
    """The initiator's two steps: ``open_session``, then ``finish``."""

    def __init__(self, credentials: Credentials, server: Identity) -> None:
        self._noise = handshake.initiator(
            _NOISE,
            keys.prologue(server.principal, server.certificate),
            credentials.inner_key,
            server.inner_key,
        )

    def open_session(self) -> bytes:
        """The document with message 1."""
        return handshake.message_1(
            self._noise, _HELLO.encode(), "OpenSession"
        )

    def finish(self, document: bytes, opened_s: float) -> Session:
        """The session, from the document with message 2."""
        welcome = handshake.message_2(self._noise, document, "SessionOpened")
        session, lifetime_s, count_max = _welcome(welcome)
        return Session(session, self._keys(), lifetime_s, count_max, opened_s)

    def _keys(self) -> SessionKeys:
        # The library has no name for Split's keys. The initiator encrypts
        # with the first and decrypts with the second. They are used for
        # nothing but the key schedule.
        protocol = self._noise.noise_protocol
        return SessionKeys.derive(
            protocol.cipher_state_encrypt.k,
            protocol.cipher_state_decrypt.k,
            self._noise.get_handshake_hash(),
        )


def request_bytes(
    header: Header,
    verb: etree._Element,
    idem: str | None,
    deadline_ms: int,
) -> bytes:
    """``Request`` around a verb, repeating the header."""
    request = etree.Element(
        f"{{{gate.NAMESPACE}}}Request", nsmap=gate.NSMAP
    )
    request.set("id", header.id)
    request.set("session", header.session)
    request.set("dir", header.dir)
    request.set("seq", str(header.seq))
    if idem is not None:
        request.set("idem", idem)
    request.set("deadline-ms", str(deadline_ms))
    inner = etree.fromstring(etree.tostring(verb, with_tail=False))
    request.append(inner)
    etree.cleanup_namespaces(request)
    return etree.tostring(request, encoding="utf-8", xml_declaration=False)


def _welcome(root: etree._Element) -> tuple[str, int, int]:
    """The session's id, its life in seconds, its messages a direction."""
    found = {str(key): str(value) for key, value in root.attrib.items()}
    names = {"session", "minor", "lifetime-s", "message-count-max"}
    if root.tag != f"{{{gate.NAMESPACE}}}Welcome" or len(root):
        raise BadMessage
    if found.keys() != names or found["minor"] != "0":
        raise BadMessage
    try:
        return (
            values.session_id(found["session"]),
            values.whole(found["lifetime-s"]),
            values.whole(found["message-count-max"]),
        )
    except ValueError:
        raise BadMessage from None
