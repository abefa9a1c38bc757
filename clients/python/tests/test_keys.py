# SPDX-License-Identifier: MIT OR Apache-2.0
"""The key schedule against known answers, and against the protocol's text."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xvmp import envelope, keys
from xvmp.keys import Direction, Header, SessionKeys

HERE = Path(__file__).parent
FILE = HERE / "vectors" / "key-schedule.json"
VECTORS = json.loads(FILE.read_text())
GOLDEN = HERE.parents[2] / "docs/schema/xvmp-1.0/golden/message.xml"

Vector = dict[str, Any]


def header(vector: Vector) -> Header:
    return Header(
        vector["session"], Direction(vector["dir"]), vector["seq"],
        vector["id"],
    )


@pytest.mark.parametrize(
    "vector", VECTORS["keys"], ids=lambda vector: vector["name"]
)
def test_known_answers(vector: Vector) -> None:
    split = vector["k1_hex" if vector["dir"] == "c2s" else "k2_hex"]
    direction_key = keys.direction_key(
        bytes.fromhex(split),
        Direction(vector["dir"]),
        bytes.fromhex(vector["h_hex"]),
    )
    assert direction_key.hex() == vector["direction_key_hex"]
    message_key = keys.message_key(
        direction_key,
        header(vector),
        vector["method"],
        vector["path"],
        vector["content_type"],
    )
    assert message_key.hex() == vector["message_key_hex"]
    inputs = (vector[name] for name in ("k1_hex", "k2_hex", "h_hex"))
    session = SessionKeys.derive(*map(bytes.fromhex, inputs))
    assert session.message_key(header(vector)) == message_key


def test_the_answers_of_the_protocols_text() -> None:
    c2s, s2c = (each["message_key_hex"] for each in VECTORS["keys"][:2])
    assert c2s == (
        "952a2bd86c034358b87835535aa60bcbe1d696908bf19acd57773bb5aa5464af"
    )
    assert s2c == (
        "5fe21f9b1433ef1cd7e7b666e229e3f37981a7ea34ba39c997380acaf283f5e8"
    )
    assert VECTORS["document"]["cipher_value"] == (
        "AAECAwQFBgcICQoLUd/p6dWigRiaSQImIMAg9uDfZC/k8PsyWQo="
    )


def test_the_whole_document_is_written_and_read() -> None:
    whole = VECTORS["document"]
    (vector,) = (
        each for each in VECTORS["keys"] if each["name"] == whole["key"]
    )
    cipher = base64.b64decode(whole["cipher_value"])
    assert cipher[:12].hex() == whole["iv_hex"]
    document = whole["document"].encode()
    assert envelope.write(header(vector), cipher) == document
    sealed = envelope.read(document)
    assert sealed.header == header(vector)
    key = bytes.fromhex(vector["message_key_hex"])
    plaintext = envelope.decrypt(key, sealed.cipher)
    assert plaintext.decode() == whole["plaintext"]


def test_the_golden_message_is_this_document() -> None:
    document = VECTORS["document"]["document"]
    assert GOLDEN.read_text() == document + "\n"


def test_another_program_computes_the_same_file() -> None:
    made = subprocess.run(
        [sys.executable, str(FILE.with_name("make.py"))],
        capture_output=True, check=True, text=True,
    )
    assert made.stdout == FILE.read_text()


def test_each_part_of_the_header_changes_the_key() -> None:
    first = header(VECTORS["keys"][0])
    others = [
        Header("f" * 32, first.dir, first.seq, first.id),
        Header(first.session, Direction.S2C, first.seq, first.id),
        Header(first.session, first.dir, first.seq + 1, first.id),
        Header(first.session, first.dir, first.seq, first.id + "0"),
    ]
    key = bytes(32)
    made = {keys.message_key(key, each) for each in [first, *others]}
    assert len(made) == 5


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        keys.direction_key(bytes(length), Direction.C2S, bytes(32))
