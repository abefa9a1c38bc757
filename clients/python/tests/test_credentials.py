# SPDX-License-Identifier: MIT OR Apache-2.0
"""Credentials: what holds together, and whom we take a server for."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from authority import PEM, Authority, key_uri, random_key_uri
from cryptography.hazmat.primitives.serialization import Encoding
from peer import Peer

from xvmp import Client, ConnectionLost, Credentials, verbs
from xvmp.credentials import MANAGER, Identity, verify_server
from xvmp.faults import CredentialsError, WrongPeer

OPERATOR = "xvmp://smps-vmm/operator/tester"


def der(authority: Authority, *uris: str) -> bytes:
    return authority.leaf(list(uris)).public_bytes(Encoding.DER)


def test_a_certificate_binds_a_principal_and_a_key(
    authority: Authority,
) -> None:
    public = os.urandom(32)
    identity = Identity.read(der(authority, MANAGER, key_uri(public)))
    assert (identity.principal, identity.inner_key) == (MANAGER, public)
    swapped = Identity.read(der(authority, key_uri(public), MANAGER))
    assert swapped.inner_key == public


@pytest.mark.parametrize(
    "uris",
    [
        [],
        [MANAGER],
        [random_key_uri()],
        [MANAGER, MANAGER, random_key_uri()],
        [MANAGER, OPERATOR, random_key_uri()],
        [MANAGER, random_key_uri(), random_key_uri()],
        ["xvmp://other/manager/manager", random_key_uri()],
        ["xvmp://smps-vmm/king/manager", random_key_uri()],
        ["xvmp://smps-vmm/manager/", random_key_uri()],
        ["xvmp://smps-vmm/manager/a/b", random_key_uri()],
        [f"xvmp://smps-vmm/manager/{'a' * 129}", random_key_uri()],
        [MANAGER, "xvmp-key:x25519:"],
        [MANAGER, random_key_uri() + "="],
        [MANAGER, random_key_uri()[:-1]],
        [MANAGER, "xvmp-key:x25519:" + "A" * 42 + "B"],
        [MANAGER, "xvmp-key:x25519:" + "A" * 42 + "+"],
        [MANAGER, "xvmp-key:x448:" + "A" * 43],
    ],
)
def test_any_other_names_are_refused(
    authority: Authority, uris: list[str]
) -> None:
    with pytest.raises(ValueError):
        Identity.read(der(authority, *uris))
    with pytest.raises(WrongPeer):
        verify_server(der(authority, *uris), MANAGER)


@pytest.mark.parametrize("certificate", [None, b"", b"0"])
def test_no_certificate_is_nobody(certificate: bytes | None) -> None:
    with pytest.raises(WrongPeer):
        verify_server(certificate, MANAGER)


def test_one_principal_is_meant(authority: Authority) -> None:
    other = der(authority, OPERATOR, random_key_uri())
    with pytest.raises(WrongPeer, match=f"is {OPERATOR}, not {MANAGER}"):
        verify_server(other, MANAGER)


def test_a_directory_that_holds_together(operator: Path) -> None:
    credentials = Credentials.load(operator)
    assert credentials.identity.principal == OPERATOR
    secret = base64.b64encode(credentials.inner_key).decode()
    assert secret not in repr(credentials)


@pytest.mark.parametrize(
    "name", ["ca.pem", "cert.pem", "key.pem", "inner.key"]
)
@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_a_directory_that_does_not(
    authority: Authority, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = authority.credentials(tmp_path, OPERATOR)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(CredentialsError):
        Credentials.load(folder)


@pytest.mark.parametrize("name", ["key.pem", "inner.key"])
def test_keys_of_somebody_else(
    authority: Authority, tmp_path: Path, name: str
) -> None:
    mine = authority.credentials(tmp_path / "mine", OPERATOR)
    other = authority.credentials(tmp_path / "other", OPERATOR)
    (mine / name).write_bytes((other / name).read_bytes())
    with pytest.raises(CredentialsError):
        Credentials.load(mine)


def test_a_server_of_another_authority_is_refused(
    peer: Peer, tmp_path: Path
) -> None:
    stranger = Authority().credentials(tmp_path, OPERATOR)
    client = Client(peer.address, Credentials.load(stranger))
    with pytest.raises(ConnectionLost, match="verify failed"):
        client.call(verbs.Ping(text="x"))
    assert peer.opened == 0


def test_pem_of_an_authority_is_no_leaf(
    authority: Authority, tmp_path: Path
) -> None:
    folder = authority.credentials(tmp_path, OPERATOR)
    (folder / "cert.pem").write_bytes(authority.certificate.public_bytes(PEM))
    with pytest.raises(CredentialsError, match="cert.pem"):
        Credentials.load(folder)
