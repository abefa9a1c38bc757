# SPDX-License-Identifier: MIT OR Apache-2.0
"""Noise messages, and the clear documents that carry them.

Sessions (section 4) and enrolment (section 8) shake hands alike: one message
there in one document, one message back in another.

    <OpenSession version="1"><Noise>base64</Noise></OpenSession>

What is not exactly so is a ``BadMessage``.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from lxml import etree
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseValueError

from . import gate, values
from .faults import BadMessage


def initiator(
    name: bytes,
    prologue: bytes,
    static: bytes,
    server: bytes,
    psk: bytes | None = None,
) -> NoiseConnection:
    """The side that begins; ``static`` is private, ``server`` public."""
    noise = NoiseConnection.from_name(name)
    noise.set_as_initiator()
    noise.set_prologue(prologue)
    if psk is not None:
        noise.set_psks(psk=psk)
    noise.set_keypair_from_private_bytes(Keypair.STATIC, static)
    noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, server)
    noise.start_handshake()
    return noise


def message_1(
    noise: NoiseConnection, payload: bytes, tag: str, **attributes: str
) -> bytes:
    """The document with message 1; the payload is checked like all ours."""
    gate.check(payload, gate.CONTENT)
    root = etree.Element(f"{{{gate.NAMESPACE}}}{tag}", nsmap=gate.NSMAP)
    for name, value in {"version": "1", **attributes}.items():
        root.set(name, value)
    child = etree.SubElement(root, f"{{{gate.NAMESPACE}}}Noise")
    child.text = values.write_base64(bytes(noise.write_message(payload)))
    return etree.tostring(root, encoding="utf-8", xml_declaration=False)


def message_2(
    noise: NoiseConnection, document: bytes, tag: str
) -> etree._Element:
    """What is inside message 2, from the document that carries it."""
    try:
        payload = noise.read_message(_carried(document, tag))
    except (InvalidTag, NoiseValueError, ValueError):
        raise BadMessage from None
    return gate.parse_plain(bytes(payload), gate.CONTENT)


def _carried(document: bytes, tag: str) -> bytes:
    root = gate.parse_plain(document, gate.MESSAGE)
    if root.tag != f"{{{gate.NAMESPACE}}}{tag}" or len(root) != 1:
        raise BadMessage
    noise = root[0]
    if root.attrib.items() != [("version", "1")]:
        raise BadMessage
    if noise.attrib or len(noise):
        raise BadMessage
    if noise.tag != f"{{{gate.NAMESPACE}}}Noise":
        raise BadMessage
    if ((root.text or "") + (noise.tail or "")).strip():
        raise BadMessage
    return values.unbase64(noise.text or "")
