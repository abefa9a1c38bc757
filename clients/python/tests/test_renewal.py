# SPDX-License-Identifier: MIT OR Apache-2.0
"""A certificate that is renewed by its client, in time."""

from __future__ import annotations

import base64
import datetime
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from authority import LIFE, Authority
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from peer import Peer

from xvmp import Client, Credentials, CredentialsError, Fault, WrongPeer, verbs
from xvmp.credentials import MANAGER
from xvmp.keys import Header
from xvmp.transport import Deadline

WHO = "xvmp://smps-vmm/viewer/ann"
PING = verbs.Ping(text="ping")
DENIED = '<Fault code="Denied" hop="manager" retryable="false" message="no"/>'


class Signer:
    """Makes a peer sign what it is asked to sign."""

    def __init__(self, peer: Peer, authority: Authority) -> None:
        self.authority = self.shown = authority
        self.principal = WHO
        self.fault: str | None = None
        real, pong = peer.response, peer.reply

        def response(header: Header) -> bytes:
            verb = peer.requests[-1][0]
            renews = etree.QName(verb).localname == "RenewCertificate"
            peer.reply = self._answer(verb) if renews else pong
            return real(header)

        peer.response = response  # type: ignore[method-assign]

    def _answer(self, verb: etree._Element) -> str:
        if self.fault:
            return self.fault
        request = base64.b64decode(verb.get("signing-request", ""))
        certificate = self.authority.sign(request, self.principal)
        shown = der(self.shown)
        return (
            f'<Certificate certificate="{text(certificate)}"'
            f' authority="{text(shown)}" new="attribute"/>'
        )


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(authority: Authority) -> bytes:
    return authority.certificate.public_bytes(Encoding.DER)


@pytest.fixture
def signer(peer: Peer, authority: Authority) -> Signer:
    return Signer(peer, authority)


@pytest.fixture
def old(authority: Authority, tmp_path: Path) -> Path:
    return authority.credentials(tmp_path / "ann", WHO, LIFE * 0.6)


@pytest.fixture
def ann(peer: Peer, signer: Signer, old: Path) -> Iterator[Client]:
    with Client(peer.address, Credentials.load(old)) as client:
        yield client


def sent(peer: Peer) -> list[str]:
    return [etree.QName(each[0]).localname for each in peer.requests]


def test_when_half_is_over_the_first_call_renews(
    ann: Client, peer: Peer, old: Path
) -> None:
    before = ann.credentials
    for _ in range(3):
        assert ann.call(PING).text == "pong"
    assert sent(peer) == ["RenewCertificate", "Ping", "Ping", "Ping"]
    assert peer.opened == 2  # the second with the new key
    after = Credentials.load(old)
    assert ann.credentials.identity == after.identity
    assert after.identity.principal == WHO
    assert after.identity.inner_key != before.identity.inner_key
    assert after.valid_until > before.valid_until
    assert not after.due(datetime.datetime.now(datetime.UTC))


def test_before_half_is_over_nothing_happens(
    peer: Peer, signer: Signer, authority: Authority, tmp_path: Path
) -> None:
    folder = authority.credentials(tmp_path, WHO, LIFE * 0.4)
    with Client(peer.address, Credentials.load(folder)) as client:
        client.call(PING)
    assert sent(peer) == ["Ping"]


def test_a_long_lived_client_renews_too(
    peer: Peer, signer: Signer, authority: Authority, tmp_path: Path
) -> None:
    folder = authority.credentials(tmp_path, WHO)
    credentials = Credentials.load(folder)
    half = credentials.valid_from + LIFE / 2
    second = datetime.timedelta(seconds=1)
    assert not credentials.due(half - second)
    assert credentials.due(half + second)


@pytest.mark.parametrize("principal", [
    MANAGER, "xvmp://smps-vmm/agent/h1",
])
def test_others_than_users_are_renewed_by_their_manager(
    authority: Authority, tmp_path: Path, principal: str
) -> None:
    folder = authority.credentials(tmp_path, principal, LIFE * 0.6)
    now = datetime.datetime.now(datetime.UTC)
    assert not Credentials.load(folder).due(now)


def test_whoever_does_not_want_it_does_without(
    peer: Peer, signer: Signer, old: Path
) -> None:
    credentials = Credentials.load(old)
    with Client(peer.address, credentials, renews=False) as client:
        client.call(PING)
        assert sent(peer) == ["Ping"]
        client.renew_certificate()
    assert sent(peer)[1:] == ["RenewCertificate"]


def test_a_call_does_not_fail_with_the_renewal(
    ann: Client, signer: Signer, peer: Peer, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signer.fault = DENIED
    with caplog.at_level(logging.WARNING, "xvmp"):
        for _ in range(3):
            assert ann.call(PING).text == "pong"
    assert sent(peer) == ["RenewCertificate", "Ping", "Ping", "Ping"]
    assert [each.message for each in caplog.records] == [
        "the certificate is not renewed yet: Denied (manager): no"
    ]
    signer.fault = None
    ann._renewal_not_before_s -= 601
    ann.call(PING)
    assert sent(peer)[4:] == ["RenewCertificate", "Ping"]


def test_asked_for_it_says_why_not(ann: Client, signer: Signer) -> None:
    signer.fault = DENIED
    with pytest.raises(Fault, match="Denied"):
        ann.renew_certificate()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("principal", "xvmp://smps-vmm/admin/ann", "admin/ann's"),
        ("authority", Authority(), "not signed by the authority"),
    ],
)
def test_another_certificate_is_refused_and_the_old_one_stays(
    ann: Client, signer: Signer, old: Path,
    name: str, value: object, why: str,
) -> None:
    before = {each.name: each.read_bytes() for each in old.iterdir()}
    setattr(signer, name, value)
    with pytest.raises(WrongPeer, match=why):
        ann.renew_certificate()
    assert {each.name: each.read_bytes() for each in old.iterdir()} == before
    assert ann.call(PING).text == "pong"


def test_what_cannot_be_written_is_said(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("xvmp.store.install", read_only)
    with pytest.raises(CredentialsError, match="read-only"):
        ann.renew_certificate()
    assert ann.call(PING).text == "pong"


def test_threads_renew_once(ann: Client, peer: Peer) -> None:
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda _: ann.call(PING).text, range(24)))
    assert texts == ["pong"] * 24
    assert sent(peer).count("RenewCertificate") == 1


def test_connections_of_the_old_certificate_are_closed(
    ann: Client, peer: Peer
) -> None:
    old = ann._transport
    deadline = Deadline.after(30)
    with old.connection(deadline) as under_way:
        with old.connection(deadline) as idle:
            pass
        ann.renew_certificate()
        assert not idle.usable and under_way.usable
    assert not under_way.usable
