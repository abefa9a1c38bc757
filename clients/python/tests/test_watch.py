# SPDX-License-Identifier: MIT OR Apache-2.0
"""A follower against a manager that says what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lxml import etree
from peer import Bent, Peer

from xvmp import Change, Client, ConnectionLost, Fault, Follower, XvmpError
from xvmp.keys import Header
from xvmp.model import Health, Host, Phase, Task, Vm
from xvmp.watch import watch


def vm(name: str, phase: str = "Running") -> str:
    return (
        f'<Vm vm="id-{name}" phase="{phase}" stale="false" vcpus-online="1"'
        f' memory-now-kib="1" new="attribute"><Spec name="{name}" vcpus="1"'
        ' vcpus-max="1" memory-kib="1" memory-max-kib="1" kernel="/k"'
        ' cmdline="" cpu-demand-milli="0" disk-demand-bytes-per-s="0"/></Vm>'
    )


def host(heard_ms_ago: int, health: str = "Up") -> str:
    return (
        f'<Host host="h" name="h1" address="h1:1" health="{health}"'
        f' heard-ms-ago="{heard_ms_ago}" maintenance="false" vm-count="0"'
        ' memory-reserved-kib="0" cpu-reserved-milli="0"'
        ' disk-reserved-bytes-per-s="0"/>'
    )


def task(state: str) -> str:
    return (
        f'<Task task="t" verb="PauseVm" vm="v" vm-name="a" state="{state}"'
        ' step=""/>'
    )


def gone(kind: str, ident: str) -> str:
    return f'<Gone object="{kind}" id="{ident}"/>'


def events(
    cursor: str, *things: str, resync: bool = False, more: bool = False
) -> str:
    return (
        f'<Events cursor="{cursor}" resync="{str(resync).lower()}"'
        f' more="{str(more).lower()}">{"".join(things)}<Unknown/></Events>'
    )


class Teller:
    """Answers one after the other; keeps what it was asked."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.answers: list[str] = []
        real = peer.response

        def response(header: Header) -> bytes:
            peer.reply = self.answers.pop(0)
            return real(header)

        peer.response = response  # type: ignore[method-assign]

    @property
    def asked(self) -> list[etree._Element]:
        return [request[0] for request in self.peer.requests]

    @property
    def cursors(self) -> list[str | None]:
        return [each.get("cursor") for each in self.asked]


@pytest.fixture
def teller(peer: Peer) -> Teller:
    return Teller(peer)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    slept: list[float] = []
    monkeypatch.setattr("xvmp.watch.time.sleep", slept.append)
    yield slept


def said(change: Change) -> tuple[str | None, str | None]:
    return short(change.before), short(change.after)


def short(thing: Host | Vm | Task | None) -> str | None:
    if isinstance(thing, Vm):
        return f"{thing.spec.name} {thing.phase}"
    if isinstance(thing, Host):
        return f"{thing.name} {thing.health}"
    return f"{thing.verb} {thing.state}" if thing else None


def test_it_begins_with_everything_and_keeps_the_cursor(
    client: Client, teller: Teller
) -> None:
    teller.answers = [
        events("1", host(5), vm("a"), more=True),
        events("2", vm("b")),
        events("2"),
        events("3", vm("a", "Paused"), task("Done")),
        events("4", gone("Vm", "id-b"), gone("Task", "never-seen")),
    ]
    follower = Follower(client)
    steps = [[said(each) for each in follower.step()] for _ in range(5)]
    assert steps == [
        [(None, "h1 Up"), (None, "a Running")],
        [(None, "b Running")],
        [],
        [("a Running", "a Paused"), (None, "PauseVm Done")],
        [("b Running", None)],
    ]
    assert teller.cursors == ["", "1", "2", "2", "3"]
    assert len(follower.known) == 3


def test_all_that_changes_comes_one_after_the_other(
    client: Client, teller: Teller
) -> None:
    teller.answers = [events("1", vm("a")), events("2", vm("a", "Lost"))]
    changes = watch(client)
    assert [said(next(changes)) for _ in range(2)] == [
        (None, "a Running"), ("a Running", "a Lost")
    ]


def test_what_is_not_of_interest_is_left_out(
    client: Client, teller: Teller
) -> None:
    teller.answers = [events("1")]
    follower = Follower(client, hosts=False, tasks=False, count_max=7)
    follower.step()
    assert {
        str(name): value for name, value in teller.asked[0].attrib.items()
    } == {
        "cursor": "", "wait-ms-max": "50000", "count-max": "7",
        "hosts": "false", "tasks": "false",
    }


def test_begun_anew_what_does_not_come_is_gone(
    client: Client, teller: Teller
) -> None:
    teller.answers = [
        events("1", vm("a"), vm("b"), vm("c"), host(1)),
        events("x1", vm("a"), host(9), resync=True, more=True),
        events("x2", vm("d"), vm("c", "Paused")),
        events("x3"),
    ]
    follower = Follower(client)
    follower.step()
    steps = [[said(each) for each in follower.step()] for _ in range(3)]
    assert steps == [
        [],
        [(None, "d Running"), ("c Running", "c Paused"), ("b Running", None)],
        [],
    ]


def test_begun_anew_twice_only_the_last_counts(
    client: Client, teller: Teller
) -> None:
    teller.answers = [
        events("1", vm("a"), vm("b")),
        events("x", vm("a"), resync=True, more=True),
        events("y", vm("b"), resync=True, more=True),
        events("z"),
    ]
    follower = Follower(client)
    changes = [said(each) for _ in range(4) for each in follower.step()]
    assert changes[2:] == [("a Running", None)]


def test_load_is_no_change_but_health_is(
    client: Client, teller: Teller
) -> None:
    teller.answers = [
        events("1", host(1)), events("2", host(900)),
        events("3", host(9000, "Silent")),
    ]
    follower = Follower(client)
    assert len(follower.step()) == 1
    assert follower.step() == []
    (known,) = follower.known
    assert isinstance(known, Host) and known.heard_ms_ago == 900
    (change,) = follower.step()
    assert isinstance(change.after, Host)
    assert change.after.health is Health.SILENT


def test_it_lives_through_a_restart(
    client: Client, teller: Teller, peer: Peer, no_pauses: list[float]
) -> None:
    busy = (
        '<Fault code="Busy" hop="manager" retryable="true"'
        ' message="the server stops"/>'
    )
    told: list[XvmpError] = []
    follower = Follower(client, on_trouble=told.append)
    teller.answers = [events("1", vm("a")), busy]
    follower.step()
    address = client._transport._address

    def come_back(error: XvmpError) -> None:
        told.append(error)
        if isinstance(error, Fault):
            client._transport.close()
            client._transport._address = ("127.0.0.1", 1)
        elif len(told) == 4:
            client._transport._address = address
            peer.sessions.clear()
            # The first of it meets a session that nobody knows.
            teller.answers.append(events("x", vm("b"), resync=True))

    follower._on_trouble = come_back
    assert [said(each) for each in follower.step()] == [
        (None, "b Running"), ("a Running", None)
    ]
    assert [type(each) for each in told] == [Fault] + [ConnectionLost] * 3
    assert no_pauses == [0.5, 1, 2, 4]
    assert teller.cursors == ["", "1", "1"]


def test_a_manager_that_never_answered_is_not_waited_for(
    client: Client, no_pauses: list[float]
) -> None:
    client._transport._address = ("127.0.0.1", 1)
    with pytest.raises(ConnectionLost):
        Follower(client).step()
    assert no_pauses == []


def test_what_asking_again_does_not_mend_is_raised(
    client: Client, teller: Teller, peer: Peer, no_pauses: list[float]
) -> None:
    denied = (
        '<Fault code="Denied" hop="manager" retryable="false" message="no"/>'
    )
    teller.answers = [events("1"), denied, events("2")]
    follower = Follower(client)
    follower.step()
    with pytest.raises(Fault, match="Denied"):
        follower.step()

    def not_found(_body: bytes) -> Bent:
        return 404, {}, b""

    peer.script.append(not_found)
    with pytest.raises(XvmpError, match="404"):
        follower.step()
    assert no_pauses == []


def test_phases_are_typed(client: Client, teller: Teller) -> None:
    teller.answers = [events("1", vm("a"))]
    (change,) = Follower(client).step()
    assert isinstance(change.after, Vm)
    assert change.after.phase is Phase.RUNNING
