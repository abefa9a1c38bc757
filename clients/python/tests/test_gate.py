# SPDX-License-Identifier: MIT OR Apache-2.0
"""The gate: what is not exactly XML of section 3 does not come in."""

from __future__ import annotations

import pytest

from xvmp import gate
from xvmp.faults import BadMessage
from xvmp.gate import CONTENT, MESSAGE

NS = 'xmlns="urn:smps-vmm:xvmp:1"'

REFUSED = {
    "nothing": b"",
    "no element": b"text",
    "two roots": b"<a/><a/>",
    "text behind": b"<a/>text",
    "not closed": b"<a>",
    "a document type": b"<!DOCTYPE a><a/>",
    "an entity": b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    "an external entity": (
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><a>&e;</a>'
    ),
    "an entity that nobody knows": b"<a>&nbsp;</a>",
    "a comment": b"<a><!-- --></a>",
    "a comment before": b"<!-- --><a/>",
    "CDATA": b"<a><![CDATA[x]]></a>",
    "an instruction": b"<a><?x y?></a>",
    "an instruction before": b"<?x y?><a/>",
    "two declarations": b'<?xml version="1.0"?><?xml version="1.0"?><a/>',
    "a declaration after white space": b' <?xml version="1.0"?><a/>',
    "XML 1.1": b'<?xml version="1.1"?><a/>',
    "standalone": b'<?xml version="1.0" standalone="yes"?><a/>',
    "latin-1": b'<?xml version="1.0" encoding="iso-8859-1"?><a/>',
    "a byte order mark": b"\xef\xbb\xbf<a/>",
    "UTF-16": "<a/>".encode("utf-16"),
    "broken UTF-8": b"<a>\xff</a>",
    "a surrogate": b"<a>\xed\xa0\x80</a>",
    "a name outside ASCII": "<ä/>".encode(),
    "an attribute outside ASCII": '<a ä=""/>'.encode(),
    "a prefix outside ASCII": '<ä:a xmlns:ä="x"/>'.encode(),
    "a NUL": b"<a>\x00</a>",
    "a control": b"<a>\x01</a>",
    "a control by reference": b"<a>&#1;</a>",
    "U+FFFF": "<a>\uffff</a>".encode(),
    "U+FFFE by reference": b"<a>&#xFFFE;</a>",
    "a reference of 8 digits": b"<a>&#00000065;</a>",
    "a reference of 8 hex digits": b'<a b="&#x00000041;"/>',
    "the prefix xml declared": (
        b'<a xmlns:xml="http://www.w3.org/XML/1998/namespace"/>'
    ),
    "a space in a namespace": b'<a xmlns="urn:x "/>',
    "a reference in a namespace": b'<a xmlns="urn&#58;x"/>',
    "a reference in a prefix's": b"<p:a b='>' xmlns:p = 'urn&#58;x'/>",
    "a prefix that nobody declares": b"<p:a/>",
    "an attribute twice": b'<a b="" b=""/>',
    "an attribute twice by prefix": (
        b'<a xmlns:p="x" xmlns:q="x" p:b="" q:b=""/>'
    ),
    "too deep": b"<a>" * 9 + b"</a>" * 9,
    "too many elements": b"<a>" + b"<b/>" * 32 + b"</a>",
    "too many attributes": (
        b"<a" + b"".join(b' b%d=""' % each for each in range(33)) + b"/>"
    ),
    "too many namespaces": (
        b"<a" + b"".join(b' xmlns:p%d="x"' % each for each in range(9))
        + b"/>"
    ),
    "too long a value": b'<a b="' + b"x" * ((256 << 10) + 1) + b'"/>',
    "too long a name": b"<" + b"a" * 129 + b"/>",
    "too long a document": b"<a>" + b" " * (8 << 20) + b"</a>",
}

ACCEPTED = {
    "the least": b"<a/>",
    "a declaration": b'<?xml version="1.0"?><a/>',
    "an encoding": b"<?xml version='1.0' encoding='UTF-8'?>\n<a/>\n",
    "the five": b"<a>&lt;&gt;&amp;&quot;&apos;</a>",
    "a reference of 7 digits": b'<a b="&#0000065;"/>',
    "what looks like a namespace": b"<a>xmlns:xml=\"a&amp;b\"</a>",
    "what looks like one in a value": (
        b"<a xmlns='x' b=\" xmlns='a&amp;b'\"/>"
    ),
    "as deep as may be": b"<a>" * 8 + b"</a>" * 8,
    "as many as may be": b"<a>" + b"<b/>" * 31 + b"</a>",
    "as many attributes as may be": (
        b'<a xmlns:p="x"'
        + b"".join(b' b%d=""' % each for each in range(32)) + b"/>"
    ),
    "as long a value as may be": b'<a b="' + b"x" * (256 << 10) + b'"/>',
    "as long a name as may be": b"<" + b"a" * 128 + b"/>",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses_and_does_not_say_why(data: bytes) -> None:
    for limits in (MESSAGE, CONTENT):
        if limits is CONTENT and data.startswith((b"<a>" * 9, b"<a><b/>")):
            continue
        with pytest.raises(BadMessage, match="^bad message$") as raised:
            gate.parse(data, limits)
        assert raised.value.__cause__ is None


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_it_accepts(data: bytes) -> None:
    gate.parse(data, MESSAGE)


def test_inside_there_is_no_declaration() -> None:
    with pytest.raises(BadMessage):
        gate.parse(b'<?xml version="1.0"?><a/>', CONTENT)


def test_inside_one_text_has_a_mebibyte_at_most() -> None:
    most = b"x" * (1 << 20)
    gate.parse(b"<a>" + most + b"<b/>" + most + b"</a>", CONTENT)
    with pytest.raises(BadMessage):
        gate.parse(b"<a>" + most + b"x</a>", CONTENT)


@pytest.mark.parametrize(
    "text",
    [
        "<a/>",
        f"<a {NS}><b xmlns=''/></a>",
        f'<a {NS} xmlns:p="x" p:b=""/>',
        f'<a {NS} xml:lang="de"/>',
        f'<p:a {NS} xmlns:p="x"/>',
    ],
)
def test_inside_all_is_in_one_namespace(text: str) -> None:
    with pytest.raises(BadMessage):
        gate.parse_plain(text.encode(), CONTENT)


def test_what_xml_cannot_carry_is_replaced() -> None:
    assert gate.carriable("a\0b\ud800c\uffffd\t\n\r\U0001f600") == (
        "a\ufffdb\ufffdc\ufffdd\t\n\r\U0001f600"
    )
