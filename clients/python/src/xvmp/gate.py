# SPDX-License-Identifier: MIT OR Apache-2.0
"""The one door through which bytes become XML (section 3 of the protocol).

Expat walks the document first and builds nothing: it counts, measures and
refuses. Only what has passed is given to lxml, whose parser resolves no
entities, loads nothing and keeps its own limits. There are no document types
here, so there are no entities to expand.

Every refusal is ``BadMessage``, whatever the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from lxml import etree

from .faults import BadMessage

NAMESPACE = "urn:smps-vmm:xvmp:1"
#: For elements of ours: no prefix.
NSMAP: dict[Any, str] = {None: NAMESPACE}

_MIB = 1 << 20
_DECLARATION = re.compile(
    rb"<\?xml\s+version\s*=\s*(?:\"1\.0\"|'1\.0')"
    rb"(?:\s+encoding\s*=\s*(?:\"utf-8\"|'utf-8'))?\s*\?>",
    re.IGNORECASE,
)
_LONG_REFERENCE = re.compile(rb"&#(?:[0-9]{8}|x[0-9A-Fa-f]{8})")
_ATTRIBUTE = re.compile(rb"\s([^\s=]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_START_TAG = re.compile(rb"<[^\s/>]+(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_UNCARRIED = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True)
class Limits:
    """How large a document and its parts may be; bytes are UTF-8."""

    document_bytes: int
    depth: int
    elements: int
    text_bytes: int
    declaration: bool
    attributes: int = 32
    namespaces: int = 8
    attribute_bytes: int = 256 << 10
    name_bytes: int = 128


#: A message, and the clear part of the handshake.
MESSAGE = Limits(8 * _MIB, 8, 32, 8 * _MIB, declaration=True)
#: What is inside the encryption.
CONTENT = Limits(8 * _MIB, 32, 200_000, _MIB, declaration=False)


def carriable(text: str) -> str:
    """The text, each character that XML cannot carry as U+FFFD."""
    return _UNCARRIED.sub("\ufffd", text)


def parse(data: bytes, limits: Limits) -> etree._Element:
    """The root element of a document that keeps all rules and limits."""
    check(data, limits)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        raise BadMessage from None


def parse_plain(data: bytes, limits: Limits) -> etree._Element:
    """Like ``parse``, where all elements are XVMP's, no attribute prefixed."""
    root = parse(data, limits)
    for element in root.iter():
        if etree.QName(element).namespace != NAMESPACE:
            raise BadMessage
        if any("{" in str(name) for name in element.attrib):
            raise BadMessage
    return root


def check(data: bytes, limits: Limits) -> None:
    """Refuses what ``parse`` would; senders look at their own work so."""
    if len(data) > limits.document_bytes:
        raise BadMessage
    body = data
    declaration = _DECLARATION.match(data)
    if declaration and limits.declaration:
        body = data[declaration.end():]
    # Where neither may stand, "<!" and "<?" cannot be anything else: a bare
    # "<" is markup. This is all of comments, CDATA, DTDs and instructions.
    if b"<!" in body or b"<?" in body or _LONG_REFERENCE.search(body):
        raise BadMessage
    if not body.isascii():
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise BadMessage from None
    if body.startswith(b"\xef\xbb\xbf"):
        raise BadMessage
    _Walk(body, limits).run()


class _Walk:
    """Expat's way through one document, measuring."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._depth = 0
        self._elements = 0
        self._text_bytes = 0
        self._parser = expat.ParserCreate("utf-8")
        self._parser.ordered_attributes = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def run(self) -> None:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError:
            raise BadMessage from None

    def _start(self, name: str, attributes: list[str]) -> None:
        self._text_bytes = 0
        self._depth += 1
        self._elements += 1
        limits = self._limits
        if self._depth > limits.depth or self._elements > limits.elements:
            raise BadMessage
        self._check_name(name)
        names, values = attributes[0::2], attributes[1::2]
        declared = [each for each in names if _declares(each)]
        if len(declared) > limits.namespaces:
            raise BadMessage
        if len(names) - len(declared) > limits.attributes:
            raise BadMessage
        for each, value in zip(names, values):
            self._check_name(each)
            self._check_value(each, value)
        if declared:
            self._check_declarations_as_written()

    def _end(self, _name: str) -> None:
        self._text_bytes = 0
        self._depth -= 1

    def _text(self, text: str) -> None:
        self._text_bytes += len(text.encode())
        if self._text_bytes > self._limits.text_bytes:
            raise BadMessage

    def _check_name(self, name: str) -> None:
        if not name.isascii() or len(name) > self._limits.name_bytes:
            raise BadMessage

    def _check_value(self, name: str, value: str) -> None:
        if len(value.encode()) > self._limits.attribute_bytes:
            raise BadMessage
        if name == "xmlns:xml":
            raise BadMessage

    def _check_declarations_as_written(self) -> None:
        """No white space and no reference in a namespace's name."""
        tag = _START_TAG.match(self._data, self._parser.CurrentByteIndex)
        if tag is None:
            raise BadMessage
        for name, value in _ATTRIBUTE.findall(tag.group()):
            if _declares(name.decode()) and re.search(rb"[\s&]", value):
                raise BadMessage


def _declares(name: str) -> bool:
    return name == "xmlns" or name.startswith("xmlns:")
