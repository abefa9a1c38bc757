# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a new certificate must be before it is kept."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
from authority import LIFE, MINUTES, Authority, key_uri
from cryptography.hazmat.primitives.serialization import Encoding

from xvmp import CredentialsError, WrongPeer, certify
from xvmp.certify import NewKeys

WHO = "xvmp://smps-vmm/operator/newcomer"


@pytest.fixture
def new() -> NewKeys:
    return NewKeys.make()


def made(
    authority: Authority, new: NewKeys, ago: datetime.timedelta = MINUTES
) -> bytes:
    uris = [WHO, key_uri(new.inner_public)]
    leaf = authority.leaf(uris, new.outer.public_key(), ago)
    return leaf.public_bytes(Encoding.DER)


def test_a_good_one_names_us(authority: Authority, new: NewKeys) -> None:
    certificate = made(authority, new)
    identity = certify.granted(certificate, authority.certificate, new)
    assert identity.principal == WHO
    assert identity.inner_key == new.inner_public


def test_it_is_of_both_our_keys(authority: Authority, new: NewKeys) -> None:
    other = NewKeys.make()
    for mixed in (
        replace(new, outer=other.outer), replace(new, inner=other.inner)
    ):
        with pytest.raises(WrongPeer, match="of other keys than ours"):
            certify.granted(
                made(authority, mixed), authority.certificate, new
            )


def test_it_is_the_authoritys_own(
    authority: Authority, new: NewKeys
) -> None:
    """One with the same name has signed it, but not with the same key."""
    certificate = made(Authority(), new)
    with pytest.raises(WrongPeer, match="not signed by the authority"):
        certify.granted(certificate, authority.certificate, new)


@pytest.mark.parametrize("ago", [LIFE + MINUTES, -MINUTES])
def test_it_is_valid_now(
    authority: Authority, new: NewKeys, ago: datetime.timedelta
) -> None:
    certificate = made(authority, new, ago)
    with pytest.raises(WrongPeer, match="is the clock right"):
        certify.granted(certificate, authority.certificate, new)


@pytest.mark.parametrize("certificate", [b"", b"rubbish"])
def test_it_is_a_certificate(
    authority: Authority, new: NewKeys, certificate: bytes
) -> None:
    with pytest.raises(WrongPeer, match="the new certificate"):
        certify.granted(certificate, authority.certificate, new)


def test_keys_are_kept_and_found_again(new: NewKeys, tmp_path: Path) -> None:
    for name, content in new.files().items():
        (tmp_path / name).write_bytes(content)
    found = NewKeys.load(tmp_path)
    assert found.files() == new.files()
    assert found.inner_public == new.inner_public


@pytest.mark.parametrize("name", ["key.pem", "inner.key"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_keys_that_are_broken_are_named(
    new: NewKeys, tmp_path: Path, name: str, content: bytes | None
) -> None:
    files = {**new.files(), name: content}
    for each, text in files.items():
        if text is not None:
            (tmp_path / each).write_bytes(text)
    with pytest.raises(CredentialsError, match=name):
        NewKeys.load(tmp_path)
