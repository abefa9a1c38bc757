# SPDX-License-Identifier: MIT OR Apache-2.0
"""Messages: one shape, one algorithm, one key; all else is refused."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import xmlsec
from lxml import etree

from xvmp import envelope, values
from xvmp.envelope import Channel
from xvmp.faults import BadMessage
from xvmp.gate import NAMESPACE
from xvmp.keys import Direction, Header, SessionKeys

SESSION = "0123456789abcdef" * 2
HEADER = Header(SESSION, Direction.C2S, 7, "m-7")
KEY = os.urandom(32)
XENC = "http://www.w3.org/2001/04/xmlenc#"

Change = Callable[[bytes], bytes]


def swap(old: str, new: str) -> Change:
    def change(document: bytes) -> bytes:
        assert old.encode() in document
        return document.replace(old.encode(), new.encode(), 1)

    return change


def value(change: Change) -> Change:
    """Changes the bytes in CipherValue."""

    def outer(document: bytes) -> bytes:
        def inner(match: re.Match[bytes]) -> bytes:
            return b">" + base64.b64encode(
                change(base64.b64decode(match[1]))
            ) + b"</xenc:CipherValue>"

        return re.sub(rb">([^<]*)</xenc:CipherValue>", inner, document)

    return outer


ENCRYPTED_KEY = (
    f'<xenc:EncryptedKey xmlns:xenc="{XENC}"><xenc:CipherData>'
    "<xenc:CipherValue>AAAA</xenc:CipherValue></xenc:CipherData>"
    "</xenc:EncryptedKey>"
)

MISSHAPEN: dict[str, Change] = {
    "aes128-gcm": swap("aes256-gcm", "aes128-gcm"),
    "aes256-cbc": swap(
        "2009/xmlenc11#aes256-gcm", "2001/04/xmlenc#aes256-cbc"
    ),
    "an algorithm with a space": swap("aes256-gcm", "aes256-gcm "),
    "no algorithm": swap(
        ' Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"', ""
    ),
    "a key size": swap(
        'aes256-gcm"/>',
        'aes256-gcm"><xenc:KeySize>256</xenc:KeySize>'
        "</xenc:EncryptionMethod>",
    ),
    "Type Content": swap("xmlenc#Element", "xmlenc#Content"),
    "a MimeType": swap(' Type="', ' MimeType="text/xml" Type="'),
    "an Id": swap(' Type="', ' Id="x" Type="'),
    "CipherReference": swap(
        "<xenc:CipherValue>",
        '<xenc:CipherReference URI="#x"/><xenc:CipherValue>',
    ),
    "only a CipherReference": lambda document: re.sub(
        rb"<xenc:CipherValue>.*</xenc:CipherValue>",
        b'<xenc:CipherReference URI="http://example.org/"/>',
        document,
    ),
    "an EncryptedKey": swap("<ds:KeyName>", ENCRYPTED_KEY + "<ds:KeyName>"),
    "an EncryptedKey for a KeyName": lambda document: re.sub(
        rb"<ds:KeyName>.*</ds:KeyName>", ENCRYPTED_KEY.encode(), document
    ),
    "an EncryptedKey for EncryptedData": lambda document: document.replace(
        b"xenc:EncryptedData", b"xenc:EncryptedKey"
    ),
    "EncryptionProperties": swap(
        "</xenc:EncryptedData>",
        "<xenc:EncryptionProperties/></xenc:EncryptedData>",
    ),
    "another KeyName": swap("/c2s/7<", "/c2s/8<"),
    "two KeyNames": swap("</ds:KeyInfo>", "<ds:KeyName/></ds:KeyInfo>"),
    "two roots": lambda document: document + document,
    "a DOCTYPE": lambda document: b"<!DOCTYPE Message>" + document,
    "a comment": swap("<xenc:CipherData>", "<!-- --><xenc:CipherData>"),
    "text between": swap("<xenc:CipherData>", "x<xenc:CipherData>"),
    "a second EncryptedData": lambda document: re.sub(
        rb"(<xenc:EncryptedData.*</xenc:EncryptedData>)", rb"\1\1", document
    ),
    "no EncryptedData": lambda document: re.sub(
        rb"<xenc:EncryptedData.*</xenc:EncryptedData>", b"", document
    ),
    "a sixth attribute": swap(' seq="', ' more="" seq="'),
    "a prefixed attribute": swap(' seq="', ' v:seq="'),
    "no id": swap(' id="m-7"', ""),
    "an empty id": swap(' id="m-7"', ' id=""'),
    "a long id": swap(' id="m-7"', f' id="{"m" * 129}"'),
    "an id with a slash": swap(' id="m-7"', ' id="m/7"'),
    "a number with a zero before": swap('seq="7"', 'seq="07"'),
    "a number with a sign": swap('seq="7"', 'seq="+7"'),
    "a number with a space": swap('seq="7"', 'seq=" 7"'),
    "a number of other digits": swap('seq="7"', 'seq="٧"'),
    "2 to the 64": swap('seq="7"', f'seq="{1 << 64}"'),
    "a session in capitals": swap(
        'session="0123456789ab', 'session="0123456789AB'
    ),
    "a short session": swap('session="01', 'session="'),
    "another direction": swap('dir="c2s"', 'dir="both"'),
    "version 2": swap('version="1"', 'version="2"'),
    "another namespace": swap("urn:smps-vmm:xvmp:1", "urn:smps-vmm:xvmp:2"),
    "no base64": swap("<xenc:CipherValue>", "<xenc:CipherValue>*"),
    "base64 of another alphabet": lambda document: re.sub(
        rb">[^<]{4}([^<]*)</xenc:CipherValue>",
        rb">-_-_\1</xenc:CipherValue>",
        document,
    ),
    "IV and tag only, cut": value(lambda data: data[:27]),
    "nothing": value(lambda data: b""),
}


@pytest.mark.parametrize("change", MISSHAPEN.values(), ids=MISSHAPEN.keys())
def test_another_shape_is_refused_before_there_is_a_key(
    change: Change,
) -> None:
    document = envelope.seal(KEY, HEADER, b"<Request/>")
    envelope.read(document)
    with pytest.raises(BadMessage, match="^bad message$"):
        envelope.read(change(document))


def test_what_may_be_missing_may_be_missing() -> None:
    document = envelope.seal(KEY, HEADER, b"<Request/>")
    for part in (
        rb' Type="[^"]*"', rb"<ds:KeyInfo.*</ds:KeyInfo>"
    ):
        less = re.sub(part, b"", document)
        assert less != document
        sealed = envelope.read(less)
        assert envelope.decrypt(KEY, sealed.cipher) == b"<Request/>"


def test_white_space_and_references_are_ignored_in_base64() -> None:
    document = envelope.seal(KEY, HEADER, b"<Request/>")
    wide = document.replace(b"><", b"> \t\r\n<").replace(
        b"CipherValue>", b"CipherValue>&#13;\n ", 1
    )
    assert envelope.read(wide) == envelope.read(document)


def test_base64_has_one_form() -> None:
    assert values.unbase64("A A\n==") == b"\0"
    for text in ("AB==", "AA=", "AA", "AA==AA==", "\u0410A=="):
        with pytest.raises(ValueError):
            values.unbase64(text)


@pytest.mark.parametrize("kept", range(16))
def test_a_truncated_tag_is_refused(kept: int) -> None:
    cipher = envelope.encrypt(KEY, b"<Request/>")
    with pytest.raises(BadMessage):
        envelope.decrypt(KEY, cipher[: len(cipher) - 16 + kept])


@pytest.mark.parametrize("length", range(28))
def test_less_than_iv_and_tag_is_refused(length: int) -> None:
    with pytest.raises(BadMessage):
        envelope.decrypt(KEY, bytes(length))


def test_each_changed_byte_is_refused() -> None:
    cipher = envelope.encrypt(KEY, b"<Request/>")
    for index in range(len(cipher)):
        changed = bytearray(cipher)
        changed[index] ^= 1
        with pytest.raises(BadMessage):
            envelope.decrypt(KEY, bytes(changed))


def test_an_iv_is_not_used_twice() -> None:
    ivs = {envelope.encrypt(KEY, b"<a/>")[:12] for _ in range(100)}
    assert len(ivs) == 100


def test_any_implementation_of_xml_encryption_opens_it() -> None:
    # Type stays, so xmlsec puts the plaintext where EncryptedData was.
    root = etree.fromstring(envelope.seal(KEY, HEADER, b"<Request a='1'/>"))
    context = xmlsec.EncryptionContext()
    context.key = xmlsec.Key.from_binary_data(
        xmlsec.constants.KeyDataAes, KEY
    )
    plain = context.decrypt(root[0])
    assert (plain.tag, plain.get("a")) == ("Request", "1")


# Two ends of a session.


def ends(session: str = SESSION) -> tuple[Channel, Channel]:
    """A client's end and its server's."""
    keys = SessionKeys(os.urandom(32), os.urandom(32))
    return (
        Channel(session, keys, Direction.C2S),
        Channel(session, keys, Direction.S2C),
    )


def content(header: Header) -> bytes:
    name, ref = (
        ("Request", "id") if header.dir == "c2s" else ("Response", "re")
    )
    return (
        f'<{name} xmlns="{NAMESPACE}" {ref}="{header.id}"'
        f' session="{header.session}" dir="{header.dir}"'
        f' seq="{header.seq}"><Done/></{name}>'
    ).encode()


def test_what_one_end_seals_the_other_opens() -> None:
    client, server = ends()
    for seq in range(3):
        header, request = server.open(client.seal("m", content))
        assert header == Header(SESSION, Direction.C2S, seq, "m")
        assert etree.QName(request).localname == "Request"
        _, response = client.open(server.seal("m", content))
        assert response.get("re") == "m"


def test_order_does_not_matter_but_each_is_taken_once() -> None:
    client, server = ends()
    messages = [client.seal("m", content) for _ in range(5)]
    for message in reversed(messages):
        server.open(message)
        with pytest.raises(BadMessage):
            server.open(message)


def test_of_racing_copies_one_is_taken() -> None:
    client, server = ends()
    for _ in range(20):
        document = client.seal("m", content)

        def taken(_: int, document: bytes = document) -> bool:
            try:
                server.open(document)
            except BadMessage:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(taken, range(4))) == 1


def test_what_is_1024_below_is_too_old() -> None:
    client, server = ends()
    messages = [client.seal("m", content) for _ in range(1025)]
    server.open(messages[1024])
    server.open(messages[1])
    with pytest.raises(BadMessage):
        server.open(messages[0])


def test_a_forged_number_does_not_move_the_window() -> None:
    client, server = ends()
    first = client.seal("m", content)
    forged = first.replace(b'seq="0"', b'seq="5000"').replace(
        b"/c2s/0<", b"/c2s/5000<"
    )
    with pytest.raises(BadMessage):
        server.open(forged)
    server.open(first)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('seq="0"', 'seq="1"'),
        ('id="m"', 'id="n"'),
        ('dir="c2s"', 'dir="s2c"'),
        (f'session="{SESSION}"', f'session="{SESSION[::-1]}"'),
    ],
)
def test_a_changed_header_is_refused(old: str, new: str) -> None:
    client, server = ends()
    document = re.sub(
        rb"<ds:KeyInfo.*</ds:KeyInfo>", b"", client.seal("m", content)
    )
    with pytest.raises(BadMessage):
        server.open(swap(old, new)(document))
    server.open(document)


def test_a_reflected_message_is_refused() -> None:
    client, server = ends()
    document = client.seal("m", content)
    with pytest.raises(BadMessage):
        client.open(document)
    turned = document.replace(b'dir="c2s"', b'dir="s2c"').replace(
        b"/c2s/", b"/s2c/"
    )
    with pytest.raises(BadMessage):
        client.open(turned)
    server.open(document)


def test_a_message_of_another_session_is_refused() -> None:
    client, _ = ends()
    _, server = ends("f" * 32)
    document = client.seal("m", content)
    spliced = document.replace(SESSION.encode(), b"f" * 32)
    for each in (document, spliced):
        with pytest.raises(BadMessage):
            server.open(each)


def test_a_session_is_its_name_and_not_only_its_keys() -> None:
    keys = SessionKeys(os.urandom(32), os.urandom(32))
    client = Channel(SESSION, keys, Direction.C2S)
    server = Channel("f" * 32, keys, Direction.S2C)
    with pytest.raises(BadMessage):
        server.open(client.seal("m", content))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b' seq="0"', b' seq="1"'),
        (b' dir="c2s"', b' dir="s2c"'),
        (b' id="m"', b' id="n"'),
        (b' id="m"', b' re="m"'),
        (b' session="0', b' session="1'),
        (b"<Request ", b"<!DOCTYPE Request><Request "),
        (b"<Request ", b'<?xml version="1.0"?><Request '),
        (b"<Done/>", b'<Done xmlns=""/>'),
    ],
)
def test_content_that_contradicts_its_header_is_refused(
    old: bytes, new: bytes
) -> None:
    keys = SessionKeys(os.urandom(32), os.urandom(32))
    server = Channel(SESSION, keys, Direction.S2C)
    header = Header(SESSION, Direction.C2S, 0, "m")
    bad = content(header).replace(old, new)
    assert bad != content(header)
    document = envelope.seal(keys.message_key(header), header, bad)
    with pytest.raises(BadMessage):
        server.open(document)


def test_a_sender_refuses_its_own_mistakes() -> None:
    client, _ = ends()
    with pytest.raises(ValueError, match="rule or limit"):
        client.seal("m", lambda header: b"<!-- -->" + content(header))
