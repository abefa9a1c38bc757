# SPDX-License-Identifier: MIT OR Apache-2.0
"""Messages: W3C XML Encryption 1.1, aes256-gcm, in exactly one shape.

``seal`` has xmlsec encrypt and writes the message around the result. ``read``
takes a message apart without any key: shape, header, algorithm; ``decrypt``
comes after it. ``Channel`` is one side of a session: it counts what it sends,
and refuses what it has seen.

Two things keep xmlsec from deciding anything. The shape is checked here, the
algorithm's URI before there is a key. And it decrypts a bare copy, without
``Type``, so that the plaintext comes back as bytes and the gate parses it,
and without ``KeyInfo``, so that no hint of the sender chooses a key.

Every refusal of what came is ``BadMessage``, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import xmlsec
from lxml import etree

from . import gate, values
from .faults import BadMessage
from .keys import Direction, Header, SessionKeys

_XENC = "http://www.w3.org/2001/04/xmlenc#"
_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_ALGORITHM = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
_TYPE = _XENC + "Element"
_IV_BYTES = 12
_TAG_BYTES = 16
_SPACE = " \t\r\n"
_HEADER_NAMES = {"version", "session", "dir", "seq", "id"}

_MESSAGE = (
    '<v:Message xmlns:v="{ns}" version="1" session="{session}" dir="{dir}"'
    ' seq="{seq}" id="{id}">{encrypted}</v:Message>'
)
_ENCRYPTED = (
    '<xenc:EncryptedData xmlns:xenc="{xenc}" Type="{type}">'
    '<xenc:EncryptionMethod Algorithm="{algorithm}"/>'
    '<ds:KeyInfo xmlns:ds="{dsig}"><ds:KeyName>{name}</ds:KeyName>'
    "</ds:KeyInfo>"
    "<xenc:CipherData><xenc:CipherValue>{value}</xenc:CipherValue>"
    "</xenc:CipherData></xenc:EncryptedData>"
)
_BARE = (
    f'<EncryptedData xmlns="{_XENC}">'
    f'<EncryptionMethod Algorithm="{_ALGORITHM}"/>'
    "<CipherData><CipherValue/></CipherData></EncryptedData>"
)


@dataclass(frozen=True)
class Sealed:
    """A message whose shape is good and whose tag nobody has looked at."""

    header: Header
    cipher: bytes  # IV, ciphertext, tag


def seal(key: bytes, header: Header, plaintext: bytes) -> bytes:
    """The message around a plaintext, with a random IV."""
    document = write(header, encrypt(key, plaintext))
    gate.check(document, gate.MESSAGE)
    return document


def encrypt(key: bytes, plaintext: bytes) -> bytes:
    """IV (12 bytes, random), ciphertext, tag (16 bytes), by xmlsec."""
    template = etree.fromstring(_BARE)
    filled = _context(key).encrypt_binary(template, plaintext)
    text = filled.findtext(f".//{{{_XENC}}}CipherValue")
    if text is None:
        raise RuntimeError("xmlsec has left the template empty")
    return values.unbase64(text)


def decrypt(key: bytes, cipher: bytes) -> bytes:
    """The plaintext of IV, ciphertext and tag, by xmlsec."""
    if len(cipher) < _IV_BYTES + _TAG_BYTES:
        raise BadMessage
    node = etree.fromstring(_BARE)
    node[1][0].text = values.write_base64(cipher)
    try:
        plaintext = _context(key).decrypt(node)
    except xmlsec.Error:
        raise BadMessage from None
    if not isinstance(plaintext, bytes):
        raise BadMessage
    return plaintext


def write(header: Header, cipher: bytes) -> bytes:
    """The bytes of a message; one form, without white space."""
    encrypted = _ENCRYPTED.format(
        xenc=_XENC,
        type=_TYPE,
        algorithm=_ALGORITHM,
        dsig=_DSIG,
        name=key_name(header),
        value=values.write_base64(cipher),
    )
    message = _MESSAGE.format(
        ns=gate.NAMESPACE,
        session=header.session,
        dir=header.dir,
        seq=header.seq,
        id=header.id,
        encrypted=encrypted,
    )
    return message.encode()


def read(document: bytes) -> Sealed:
    """Takes a message apart; no key is needed and none is touched."""
    root = gate.parse(document, gate.MESSAGE)
    (encrypted,) = _parts(root, gate.NAMESPACE, "Message", 1)
    header = _header(root)
    _attributes(encrypted, {"Type": _TYPE}, optional=True)
    inner = list(_children(encrypted, _XENC, "EncryptedData"))
    if len(inner) == 3:
        _check_key_info(inner.pop(1), header)
    if len(inner) != 2:
        raise BadMessage
    method, data = inner
    _parts(method, _XENC, "EncryptionMethod", 0)
    _attributes(method, {"Algorithm": _ALGORITHM})
    (value,) = _parts(data, _XENC, "CipherData", 1)
    _attributes(data, {})
    _attributes(value, {})
    cipher = _bytes(_leaf(value, _XENC, "CipherValue"))
    if len(cipher) < _IV_BYTES + _TAG_BYTES:
        raise BadMessage
    return Sealed(header, cipher)


def key_name(header: Header) -> str:
    """What stands in KeyInfo. Nobody chooses a key by it."""
    return f"{header.session}/{header.dir}/{header.seq}"


class ReplayWindow:
    """Which of the last 1024 sequence numbers have been seen."""

    SIZE = 1024

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0  # bit n: newest - n

    @property
    def newest(self) -> int:
        """The highest number so far; -1 before the first."""
        return self._newest

    def fresh(self, seq: int) -> bool:
        """Whether a message with this number may still be accepted."""
        age = self._newest - seq
        if age < 0:
            return True
        return age < self.SIZE and not self._seen >> age & 1

    def mark(self, seq: int) -> None:
        """Remembers a number whose tag has been verified."""
        ahead = seq - self._newest
        if ahead >= self.SIZE:
            self._seen = 1
        elif ahead > 0:
            mask = (1 << self.SIZE) - 1
            self._seen = (self._seen << ahead | 1) & mask
        else:
            self._seen |= 1 << -ahead
        self._newest = max(self._newest, seq)


class Channel:
    """One side of a session; may be used by several threads."""

    def __init__(
        self, session: str, keys: SessionKeys, sends: Direction
    ) -> None:
        self.session = session
        self._keys = keys
        self._sends = sends
        self._seq = 0
        self._window = ReplayWindow()
        self._lock = Lock()

    @property
    def busiest_count(self) -> int:
        """Numbers used up in the direction that used more of them."""
        return max(self._seq, self._window.newest + 1)

    def seal(
        self, message_id: str, content: Callable[[Header], bytes]
    ) -> bytes:
        """A message with the next number; its content repeats the header.

        ``ValueError`` when a receiver would refuse what is to be sent.
        """
        with self._lock:
            seq, self._seq = self._seq, self._seq + 1
        header = Header(self.session, self._sends, seq, message_id)
        plaintext = content(header)
        try:
            gate.check(plaintext, gate.CONTENT)
            return seal(self._keys.message_key(header), header, plaintext)
        except BadMessage:
            raise ValueError(
                "what is to be sent breaks a rule or limit of the protocol"
            ) from None

    def open(self, document: bytes) -> tuple[Header, etree._Element]:
        """The header and the content of a message from the other side."""
        sealed = read(document)
        header = sealed.header
        if header.session != self.session or header.dir == self._sends:
            raise BadMessage
        self._refuse_seen(header.seq)
        plaintext = decrypt(self._keys.message_key(header), sealed.cipher)
        with self._lock:
            self._refuse_seen(header.seq)
            self._window.mark(header.seq)
        return header, _content(plaintext, header)

    def _refuse_seen(self, seq: int) -> None:
        if not self._window.fresh(seq):
            raise BadMessage


def _content(plaintext: bytes, header: Header) -> etree._Element:
    root = gate.parse_plain(plaintext, gate.CONTENT)
    name = "id" if header.dir is Direction.C2S else "re"
    repeated = {
        name: header.id,
        "session": header.session,
        "dir": str(header.dir),
        "seq": str(header.seq),
    }
    if any(root.get(key) != value for key, value in repeated.items()):
        raise BadMessage
    return root


def _context(key: bytes) -> xmlsec.EncryptionContext:
    context = xmlsec.EncryptionContext()
    context.key = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataAes, key)
    return context


def _header(root: etree._Element) -> Header:
    found = {str(key): str(value) for key, value in root.attrib.items()}
    if found.keys() != _HEADER_NAMES or found["version"] != "1":
        raise BadMessage
    try:
        return Header(
            values.session_id(found["session"]),
            Direction(found["dir"]),
            values.whole(found["seq"]),
            values.message_id(found["id"]),
        )
    except ValueError:
        raise BadMessage from None


def _check_key_info(info: etree._Element, header: Header) -> None:
    (name,) = _parts(info, _DSIG, "KeyInfo", 1)
    _attributes(info, {})
    _attributes(name, {})
    if _leaf(name, _DSIG, "KeyName") != key_name(header):
        raise BadMessage


def _bytes(text: str) -> bytes:
    try:
        return values.unbase64(text)
    except ValueError:
        raise BadMessage from None


def _parts(
    element: etree._Element, namespace: str, name: str, count: int
) -> list[etree._Element]:
    children = _children(element, namespace, name)
    if len(children) != count:
        raise BadMessage
    return children


def _children(
    element: etree._Element, namespace: str, name: str
) -> list[etree._Element]:
    """The children of an element of this name with nothing between them."""
    if element.tag != f"{{{namespace}}}{name}":
        raise BadMessage
    children = list(element)
    texts = [element.text, *(child.tail for child in children)]
    if any((text or "").strip(_SPACE) for text in texts):
        raise BadMessage
    return children


def _leaf(element: etree._Element, namespace: str, name: str) -> str:
    if element.tag != f"{{{namespace}}}{name}" or len(element):
        raise BadMessage
    return element.text or ""


def _attributes(
    element: etree._Element, expected: dict[str, str], optional: bool = False
) -> None:
    found = {str(key): str(value) for key, value in element.attrib.items()}
    if found != expected and not (optional and not found):
        raise BadMessage
