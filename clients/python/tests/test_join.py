# SPDX-License-Identifier: MIT OR Apache-2.0
"""Enrolment against a manager that is made here, and its imitations."""

from __future__ import annotations

import datetime
import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import PEM, Authority
from cryptography import x509
from lxml import etree
from peer import Bend, Bent, Peer
from registrar import ID, WHO, Registrar, text

from xvmp import (
    BadMessage,
    Client,
    ConnectionLost,
    Credentials,
    CredentialsError,
    DeadlinePassed,
    Fault,
    HttpRefused,
    JoinRefused,
    UnexpectedReply,
    WrongPeer,
    codec,
    model,
    verbs,
)
from xvmp.certify import NewKeys
from xvmp.credentials import MANAGER
from xvmp.gate import NAMESPACE
from xvmp.join import Token, join

PUBLISHED = Path(__file__).parents[3] / "docs/schema/xvmp-1.0"
FILES = ["ca.pem", "cert.pem", "inner.key", "key.pem"]


@pytest.fixture
def registrar(authority: Authority, manager: Path) -> Iterator[Registrar]:
    with Registrar(authority, manager) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "of" / "newcomer"


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def hang_up(_body: bytes) -> Bent:
    return None


def status(code: int, **headers: str) -> Bend:
    named = {name.replace("_", "-"): each for name, each in headers.items()}
    return lambda _body: (code, dict(named), b"")


def test_a_token_becomes_credentials(
    registrar: Registrar, folder: Path
) -> None:
    credentials = join(registrar.address, registrar.token(), folder)
    assert credentials.identity.principal == WHO
    assert registrar.applicants == [credentials.identity.inner_key]
    assert credentials.authority == registrar.authority.certificate
    assert names(folder) == FILES
    for name in FILES:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_they_are_good_for_calls(
    registrar: Registrar, peer: Peer, folder: Path
) -> None:
    credentials = join(registrar.address, registrar.token(), folder)
    with Client(peer.address, credentials) as client:
        assert client.call(verbs.Ping(text="ping")).text == "pong"


def test_another_authority_is_left_at_once(
    registrar: Registrar, folder: Path
) -> None:
    with pytest.raises(WrongPeer, match="not the one of the token"):
        join(registrar.address, registrar.token(pin=os.urandom(32)), folder)
    assert registrar.applicants == [] and not folder.exists()


def test_who_only_shows_the_authority_is_found_out(
    authority: Authority, tmp_path: Path, folder: Path
) -> None:
    """A server of another authority that appends the good one's."""
    stranger = Authority().credentials(tmp_path / "stranger", MANAGER)
    with Registrar(authority, stranger) as imitation:
        chain = stranger / "chain.pem"
        chain.write_bytes(
            (stranger / "cert.pem").read_bytes()
            + authority.certificate.public_bytes(PEM)
        )
        tls = imitation._server.socket
        assert isinstance(tls, ssl.SSLSocket)
        tls.context.load_cert_chain(chain, stranger / "key.pem")
        with pytest.raises(ConnectionLost, match="verify failed"):
            join(imitation.address, imitation.token(), folder)
        assert imitation.applicants == []


def test_an_agent_is_no_manager(
    authority: Authority, tmp_path: Path, folder: Path
) -> None:
    agent = authority.credentials(
        tmp_path / "agent", "xvmp://smps-vmm/agent/h1"
    )
    with Registrar(authority, agent) as imitation:
        with pytest.raises(WrongPeer, match="agent/h1, no manager"):
            join(imitation.address, imitation.token(), folder)
        assert imitation.applicants == []


def test_a_manager_whose_time_is_over_is_refused(
    authority: Authority, tmp_path: Path, folder: Path
) -> None:
    old = authority.credentials(
        tmp_path / "old", MANAGER, datetime.timedelta(days=2)
    )
    with Registrar(authority, old) as late:
        with pytest.raises(ConnectionLost, match="expired"):
            join(late.address, late.token(), folder)
        assert late.applicants == []


def test_a_server_without_joining_is_named(
    peer: Peer, registrar: Registrar, folder: Path
) -> None:
    with pytest.raises(ConnectionLost, match="does not speak xvmp-join/1"):
        join(peer.address, registrar.token(), folder)


def test_a_wrong_secret_is_refused(
    registrar: Registrar, folder: Path
) -> None:
    token = registrar.token(secret=os.urandom(32))
    with pytest.raises(JoinRefused, match="does not know this token"):
        join(registrar.address, token, folder)
    assert registrar.applicants == []


def test_a_denial_says_why(registrar: Registrar, folder: Path) -> None:
    registrar.reply = (
        f'<Denied xmlns="{NAMESPACE}"><Fault code="Conflict" hop="manager"'
        ' retryable="false" message="taken"/></Denied>'
    )
    with pytest.raises(Fault, match="taken") as raised:
        join(registrar.address, registrar.token(), folder)
    assert raised.value.code is model.FaultCode.CONFLICT
    assert names(folder) == ["joining"]


def test_cut_off_in_the_middle_it_is_taken_up_with_the_same_keys(
    registrar: Registrar, folder: Path
) -> None:
    registrar.script += [hang_up] * 4
    with pytest.raises(ConnectionLost):
        join(registrar.address, registrar.token(), folder)
    assert names(folder) == ["joining"]
    assert names(folder / "joining") == ["inner.key", "key.pem"]
    credentials = join(registrar.address, registrar.token(), folder)
    assert len(registrar.applicants) == 5
    assert set(registrar.applicants) == {credentials.identity.inner_key}
    assert names(folder) == FILES


def test_a_lost_answer_is_asked_for_again(
    registrar: Registrar, folder: Path
) -> None:
    registrar.script += [hang_up, status(503, Retry_After="0")]
    join(registrar.address, registrar.token(), folder)
    assert len(registrar.applicants) == 3
    assert len(set(registrar.applicants)) == 1


@pytest.mark.parametrize(
    ("code", "error"), [(404, HttpRefused), (500, HttpRefused)]
)
def test_other_statuses_are_the_end(
    registrar: Registrar, folder: Path, code: int, error: type[Exception]
) -> None:
    registrar.script.append(status(code))
    with pytest.raises(error):
        join(registrar.address, registrar.token(), folder)
    assert len(registrar.applicants) == 1


def test_it_waits_no_longer_than_it_may(
    registrar: Registrar, folder: Path
) -> None:
    registrar.script.append(status(503, Retry_After="60"))
    with pytest.raises(DeadlinePassed):
        join(registrar.address, registrar.token(), folder, timeout_s=5)


def test_an_answer_that_was_bent_is_refused(
    registrar: Registrar, folder: Path
) -> None:
    registrar.script.append(
        lambda body: (200, {}, body.replace(b"Joined", b"SessionOpened"))
    )
    with pytest.raises(BadMessage):
        join(registrar.address, registrar.token(), folder)


def test_a_certificate_of_another_authority_is_refused(
    registrar: Registrar, folder: Path
) -> None:
    registrar.signs = Authority()
    with pytest.raises(WrongPeer, match="not signed by the authority"):
        join(registrar.address, registrar.token(), folder)
    assert names(folder) == ["joining"]


def test_something_else_than_an_admission_is_named(
    registrar: Registrar, folder: Path
) -> None:
    registrar.reply = f'<Welcome xmlns="{NAMESPACE}"/>'
    with pytest.raises(UnexpectedReply, match="a Welcome came"):
        join(registrar.address, registrar.token(), folder)


def test_credentials_are_not_written_over(
    registrar: Registrar, authority: Authority, folder: Path
) -> None:
    authority.credentials(folder, "xvmp://smps-vmm/viewer/somebody")
    with pytest.raises(CredentialsError, match="viewer/somebody"):
        join(registrar.address, registrar.token(), folder)
    assert registrar.applicants == []


def test_cut_off_at_the_very_end_nothing_is_asked_again(
    registrar: Registrar, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)
        join(registrar.address, registrar.token(), folder)
    assert names(folder) == sorted([*FILES, "joining"])
    credentials = join(registrar.address, registrar.token(), folder)
    assert credentials.identity.principal == WHO
    assert len(registrar.applicants) == 1
    assert names(folder) == FILES


def test_a_token_is_read() -> None:
    secret, pin = os.urandom(32), os.urandom(32)
    token = Token.read(f"xvmpj1.{ID}.{text(secret)}.{text(pin)}")
    assert token == Token(ID, secret, pin)
    assert text(secret) not in repr(token) and str(secret) not in repr(token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        f"xvmpj1.{ID}.{'A' * 43}",
        f"xvmpj2.{ID}.{'A' * 43}.{'A' * 43}",
        f"xvmpj1.{ID.upper()}.{'A' * 43}.{'A' * 43}",
        f"xvmpj1.{ID}.{'A' * 42}B.{'A' * 43}",
        f"xvmpj1.{ID}.{'A' * 43}.{'A' * 43}=",
        f"xvmpj1.{ID}.{'A' * 43}.{'A' * 42}+",
        f" xvmpj1.{ID}.{'A' * 43}.{'A' * 43}",
    ],
)
def test_what_is_no_token_is_not_repeated(token: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="this is no token") as raised:
        join("127.0.0.1:1", token, folder)
    assert "AAAA" not in str(raised.value)


def test_a_signing_request_has_the_inner_key_and_nothing_else() -> None:
    new = NewKeys.make()
    request = x509.load_der_x509_csr(new.signing_request())
    assert request.is_signature_valid
    assert request.public_key() == new.outer.public_key()
    (extension,) = request.extensions
    assert isinstance(extension.value, x509.SubjectAlternativeName)
    (name,) = extension.value
    assert name.value == f"xvmp-key:x25519:{text(new.inner_public)}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("join-request", model.JoinRequest),
        ("admitted", model.Admitted),
        ("denied", model.Denied),
    ],
)
def test_what_is_inside_is_as_published(name: str, kind: type[Any]) -> None:
    published = (PUBLISHED / f"golden/{name}.xml").read_bytes().strip()
    again = codec.write(codec.read(kind, etree.fromstring(published)))
    schema = etree.XMLSchema(etree.parse(str(PUBLISHED / "xvmp.xsd")))
    schema.assertValid(again)
    assert etree.tostring(again, method="c14n") == etree.tostring(
        etree.fromstring(published), method="c14n"
    )


def test_the_document_is_as_published(
    registrar: Registrar, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    real = registrar.join

    def listen(body: bytes) -> bytes | None:
        seen.append(body)
        return real(body)

    monkeypatch.setattr(registrar, "join", listen)
    join(registrar.address, registrar.token(), folder)
    schema = etree.XMLSchema(etree.parse(str(PUBLISHED / "xvmp.xsd")))
    schema.assertValid(etree.fromstring(seen[0]))
    assert Credentials.load(folder).identity.principal == WHO
