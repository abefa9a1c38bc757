# SPDX-License-Identifier: MIT OR Apache-2.0
"""Computes key-schedule.json anew, with hmac and hashlib alone.

This shares no line with the package, so that the two can disagree. It prints
the file; compare it before you replace what is published.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CONTENT_TYPE = "application/vnd.smps-vmm.xvmp+xml;charset=utf-8"
SESSION = "000102030405060708090a0b0c0d0e0f"

Entry = dict[str, Any]


def main() -> None:
    seven, nine = bytes([7]) * 32, bytes([9]) * 32
    k1, k2, h = (hashlib.sha256(each).digest() for each in (b"1", b"2", b"3"))
    other = h[:16].hex()
    long_id = ("A-Z.a:z_0" * 15)[:128]
    keys = [
        entry("section 5, c2s", seven, seven, nine, SESSION, "c2s", 7, "m-7"),
        entry("section 5, s2c", seven, seven, nine, SESSION, "s2c", 7, "m-7"),
        entry("two keys, c2s", k1, k2, h, other, "c2s", 0, "a"),
        entry("two keys, s2c", k1, k2, h, other, "s2c", 0, "a"),
        entry("next number", k1, k2, h, other, "c2s", 1, "a"),
        entry("above 32 bits", k1, k2, h, other, "c2s", 2**32 + 5, "a"),
        entry("longest id", k1, k2, h, other, "s2c", 1023, long_id),
        entry("two keys, another h", k1, k2, nine, other, "c2s", 0, "a"),
        entry("digits only", k1, k2, h, "0" * 32, "c2s", 0, "0"),
    ]
    iv = bytes(range(12))
    whole = document(keys[0], iv, "<Request/>")
    licence = {"SPDX-License-Identifier": "MIT OR Apache-2.0"}
    print(json.dumps({**licence, "keys": keys, "document": whole}, indent=2))


def entry(
    name: str, k1: bytes, k2: bytes, h: bytes, session: str, direction: str,
    seq: int, message_id: str,
) -> Entry:
    split = k1 if direction == "c2s" else k2
    info = lp(b"xvmp1 rpc") + lp(direction.encode()) + lp(b"aes256-gcm")
    direction_key = expand(split, info + lp(h))
    bound = (
        lp(session.encode()) + lp(direction.encode()) + seq.to_bytes(8, "big")
        + lp(message_id.encode()) + lp(b"POST") + lp(b"/xvmp/1/rpc")
        + lp(CONTENT_TYPE.encode())
    )
    info = b"xvmp1 msg\x00" + hashlib.sha256(bound).digest()
    return {
        "name": name,
        "k1_hex": k1.hex(),
        "k2_hex": k2.hex(),
        "h_hex": h.hex(),
        "session": session,
        "dir": direction,
        "seq": seq,
        "id": message_id,
        "method": "POST",
        "path": "/xvmp/1/rpc",
        "content_type": CONTENT_TYPE,
        "direction_key_hex": direction_key.hex(),
        "message_key_hex": expand(direction_key, info).hex(),
    }


def document(key: Entry, iv: bytes, plaintext: str) -> Entry:
    cipher = AESGCM(bytes.fromhex(key["message_key_hex"]))
    value = base64.b64encode(
        iv + cipher.encrypt(iv, plaintext.encode(), None)
    ).decode()
    xenc = "http://www.w3.org/2001/04/xmlenc#"
    text = (
        '<v:Message xmlns:v="urn:smps-vmm:xvmp:1" version="1"'
        f' session="{key["session"]}" dir="{key["dir"]}"'
        f' seq="{key["seq"]}" id="{key["id"]}">'
        f'<xenc:EncryptedData xmlns:xenc="{xenc}" Type="{xenc}Element">'
        "<xenc:EncryptionMethod"
        ' Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"/>'
        '<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
        f'<ds:KeyName>{key["session"]}/{key["dir"]}/{key["seq"]}'
        "</ds:KeyName></ds:KeyInfo>"
        f"<xenc:CipherData><xenc:CipherValue>{value}</xenc:CipherValue>"
        "</xenc:CipherData></xenc:EncryptedData></v:Message>"
    )
    return {
        "key": key["name"],
        "iv_hex": iv.hex(),
        "plaintext": plaintext,
        "cipher_value": value,
        "document": text,
    }


def lp(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def expand(key: bytes, info: bytes) -> bytes:
    """HKDF-Expand of RFC 5869; one block of SHA-256 is all that we need."""
    return hmac.new(key, info + b"\x01", "sha256").digest()


if __name__ == "__main__":
    main()
