# SPDX-License-Identifier: MIT OR Apache-2.0
"""The key schedule (section 5): from Noise's Split to one key a message.

    k1, h -> K_c2s --(header, method, path, content type)--> K_msg
    k2, h -> K_s2c --(header, method, path, content type)--> K_msg

Pure functions over bytes. They fail only by ``ValueError``, on lengths that
no caller of this package produces.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES = 32
CONTENT_TYPE = "application/vnd.smps-vmm.xvmp+xml;charset=utf-8"
RPC_METHOD = "POST"
RPC_PATH = "/xvmp/1/rpc"


class Direction(StrEnum):
    """Which way a message goes."""

    C2S = "c2s"
    S2C = "s2c"


@dataclass(frozen=True)
class Header:
    """What stands outside of the encryption, and is bound to it.

    ``session`` has 32 of ``0-9a-f``; ``seq`` counts from 0; ``id`` is 1 to
    128 of ``A-Z a-z 0-9 . _ : -``.
    """

    session: str
    dir: Direction
    seq: int
    id: str


@dataclass(frozen=True, repr=False)
class SessionKeys:
    """The two direction keys of a session, 32 bytes each."""

    c2s: bytes
    s2c: bytes

    @classmethod
    def derive(
        cls, split_1: bytes, split_2: bytes, handshake_hash: bytes
    ) -> SessionKeys:
        """From the keys of Noise's Split (used for nothing else) and ``h``."""
        return cls(
            direction_key(split_1, Direction.C2S, handshake_hash),
            direction_key(split_2, Direction.S2C, handshake_hash),
        )

    def message_key(self, header: Header) -> bytes:
        """The key of the one message with this header."""
        keys = {Direction.C2S: self.c2s, Direction.S2C: self.s2c}
        return message_key(keys[header.dir], header)


def lp(value: bytes | str) -> bytes:
    """Length-prefixed: 32 bits, big-endian, then the bytes (UTF-8)."""
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def prologue(server: str, certificate: bytes) -> bytes:
    """Noise's prologue: the server's principal and its leaf, DER."""
    fingerprint = hashlib.sha256(certificate).digest()
    return lp("XVMP/1") + lp(server) + lp(fingerprint)


def join_prologue(server: str, certificate: bytes, token: str) -> bytes:
    """Like ``prologue``, for enrolment (section 8); ``token`` is its id."""
    fingerprint = hashlib.sha256(certificate).digest()
    return (
        lp("XVMP/1 join") + lp(server) + lp(fingerprint) + lp(token)
    )


def direction_key(
    split: bytes, direction: Direction, handshake_hash: bytes
) -> bytes:
    """``K_c2s`` from ``k1``, ``K_s2c`` from ``k2``."""
    info = (
        lp("xvmp1 rpc") + lp(direction) + lp("aes256-gcm")
        + lp(handshake_hash)
    )
    return _expand(split, info)


def message_key(
    key: bytes,
    header: Header,
    method: str = RPC_METHOD,
    path: str = RPC_PATH,
    content_type: str = CONTENT_TYPE,
) -> bytes:
    """``K_msg``. Both directions take the request's method and path."""
    bound = (
        lp(header.session) + lp(header.dir) + header.seq.to_bytes(8, "big")
        + lp(header.id) + lp(method) + lp(path) + lp(content_type)
    )
    return _expand(key, b"xvmp1 msg\0" + hashlib.sha256(bound).digest())


def _expand(key: bytes, info: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return HKDFExpand(SHA256(), KEY_BYTES, info).derive(key)
