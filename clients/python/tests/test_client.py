# SPDX-License-Identifier: MIT OR Apache-2.0
"""One call against a server that does as it is told: every retry, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import NotConnected
from pathlib import Path

import pytest
from lxml import etree
from peer import BAD, Bend, Bent, Peer

from xvmp import (
    BadMessage,
    Client,
    ConnectionLost,
    Credentials,
    DeadlinePassed,
    Fault,
    HttpRefused,
    SessionRefused,
    UnexpectedReply,
    WrongPeer,
    model,
    verbs,
)
from xvmp.keys import Header
from xvmp.transport import Deadline

PING = verbs.Ping(text="ping")
PAUSE = verbs.PauseVm(vm="web")


def status(code: int, **headers: str) -> Bend:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = BAD if code == 400 else b""
    return lambda _body: (code, dict(named), body)


def hang_up(_body: bytes) -> Bent:
    return None


def bent(change: Callable[[bytes], bytes]) -> Bend:
    return lambda body: (200, {}, change(body))


def test_a_verb_comes_back_as_its_reply(client: Client, peer: Peer) -> None:
    assert client.call(PING).text == "pong"
    (request,) = peer.requests
    assert request[0].get("text") == "ping"
    assert request.get("idem") is None
    assert 0 < int(request.get("deadline-ms") or "") <= 30_000


def test_what_changes_something_carries_a_key(
    client: Client, peer: Peer
) -> None:
    for idem in (None, "mine"):
        with pytest.raises(UnexpectedReply):
            client.call(PAUSE, idem=idem)
    first, second = (request.get("idem") for request in peer.requests)
    assert len(first or "") == 36
    assert second == "mine"


def test_a_fault_is_raised_with_all_that_it_says(
    client: Client, peer: Peer
) -> None:
    peer.reply = (
        '<Fault code="UnknownVm" hop="manager" retryable="false"'
        ' message="no VM web"/>'
    )
    with pytest.raises(Fault) as raised:
        client.call(PING)
    fault = raised.value
    assert (fault.code, fault.hop) == ("UnknownVm", "manager")
    assert (fault.retryable, fault.message) == (False, "no VM web")


def test_400_opens_a_new_session_and_sends_again_once(
    client: Client, peer: Peer
) -> None:
    client.call(PING)
    peer.sessions.clear()
    assert client.call(PING).text == "pong"
    assert peer.opened == 2


def test_400_twice_is_the_end(client: Client, peer: Peer) -> None:
    peer.script += [status(400), status(400)]
    with pytest.raises(SessionRefused):
        client.call(PING)
    assert peer.opened == 2 and len(peer.requests) == 2


def test_400_to_a_handshake_is_the_end(client: Client, peer: Peer) -> None:
    peer.open_script.append(status(400))
    with pytest.raises(SessionRefused):
        client.call(PING)


def test_a_repeated_request_keeps_id_and_key_but_not_its_number(
    client: Client, peer: Peer
) -> None:
    peer.script += [status(503, Retry_After="0"), hang_up]
    with pytest.raises(UnexpectedReply):
        client.call(PAUSE)
    assert len({header.id for header in peer.headers}) == 1
    assert len({request.get("idem") for request in peer.requests}) == 1
    assert [header.seq for header in peer.headers] == [0, 1, 2]


def test_503_waits_no_longer_than_the_deadline(
    client: Client, peer: Peer
) -> None:
    peer.script.append(status(503, Retry_After="60"))
    with pytest.raises(DeadlinePassed) as raised:
        client.call(PING, timeout_s=5)
    assert not raised.value.maybe_done


def test_sending_again_has_an_end(client: Client, peer: Peer) -> None:
    peer.script += [status(503, Retry_After="0")] * 4
    with pytest.raises(HttpRefused) as raised:
        client.call(PING)
    assert raised.value.status == 503 and not raised.value.maybe_done
    assert len(peer.requests) == 4


def test_503_to_a_handshake_waits_too(client: Client, peer: Peer) -> None:
    peer.open_script.append(status(503, Retry_After="0"))
    assert client.call(PING).text == "pong"


def test_a_broken_connection_is_tried_again_once(
    client: Client, peer: Peer
) -> None:
    peer.script.append(hang_up)
    assert client.call(PING).text == "pong"
    peer.script += [hang_up, hang_up]
    with pytest.raises(ConnectionLost) as raised:
        client.call(PING)
    assert raised.value.maybe_done


def test_a_connection_that_idled_is_not_used_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, deadline = client._transport, Deadline.after(30)
    with transport.connection(deadline) as first:
        pass
    with transport.connection(deadline) as again:
        assert again is first
    real = time.monotonic
    monkeypatch.setattr("xvmp.transport.time.monotonic", lambda: real() + 9)
    with transport.connection(deadline) as later:
        assert later is not first and not first.usable


def test_what_may_be_done_after_a_break_stays_so(
    client: Client, peer: Peer
) -> None:
    peer.script += [hang_up, status(404)]
    with pytest.raises(HttpRefused) as raised:
        client.call(PING)
    assert raised.value.maybe_done

    def go_away(_body: bytes) -> Bent:
        client._transport._address = ("127.0.0.1", 1)
        return None

    peer.script.append(go_away)
    with pytest.raises(ConnectionLost, match="cannot connect") as lost:
        client.call(PING)
    assert lost.value.maybe_done


def test_a_connection_is_not_made_anew_without_verification(
    client: Client,
) -> None:
    client.call(PING)
    deadline = Deadline.after(5)
    with pytest.raises(ConnectionLost) as raised:
        with client._transport.connection(deadline) as connection:
            connection.close()
            connection.post("/xvmp/1/rpc", b"", deadline)
    assert isinstance(raised.value.__cause__, NotConnected)


@pytest.mark.parametrize("code", [404, 405, 408, 413, 415, 500])
def test_other_statuses_are_the_end(
    client: Client, peer: Peer, code: int
) -> None:
    peer.script.append(status(code))
    with pytest.raises(HttpRefused) as raised:
        client.call(PING)
    assert raised.value.status == code
    assert raised.value.maybe_done is (code == 500)
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'dir="s2c"', b'dir="c2s"', 1),
        lambda body: body.replace(b'id="m-', b'id="n-', 1),
        lambda body: body.replace(b'version="1"', b'version="2"', 1),
        lambda body: b"",
        lambda body: body + b"<more/>",
    ],
)
def test_a_bent_answer_is_refused_without_saying_why(
    client: Client, peer: Peer, change: Callable[[bytes], bytes]
) -> None:
    peer.script.append(bent(change))
    with pytest.raises(BadMessage, match="^bad message$"):
        client.call(PING)


def test_the_answer_to_another_request_is_refused(
    client: Client, peer: Peer
) -> None:
    kept: list[bytes] = []

    def keep(body: bytes) -> bytes:
        kept.append(body)
        return body

    peer.script.append(bent(keep))
    client.call(PING)
    peer.script.append(bent(lambda _body: kept[0]))
    with pytest.raises(BadMessage):
        client.call(PING)


def test_a_genuine_answer_to_nobody_is_refused(
    client: Client, peer: Peer
) -> None:
    def to_nobody(_body: bytes) -> bytes:
        (channel,) = peer.sessions.values()
        return channel.seal("m-nobody", peer.response)

    peer.script.append(bent(to_nobody))
    with pytest.raises(BadMessage):
        client.call(PING)


def test_another_content_type_is_refused(client: Client, peer: Peer) -> None:
    peer.script.append(lambda body: (200, {"Content-Type": "text/xml"}, body))
    with pytest.raises(BadMessage):
        client.call(PING)


def test_an_endless_answer_is_cut(client: Client, peer: Peer) -> None:
    much = b" " * ((8 << 20) + 1)
    peer.script += [bent(lambda body: much), bent(lambda body: much)]
    with pytest.raises(ConnectionLost, match="too large"):
        client.call(PING)


def test_a_session_is_renewed_when_three_quarters_are_counted(
    client: Client, peer: Peer
) -> None:
    peer.count_max = 8
    for _ in range(7):
        client.call(PING)
    assert peer.opened == 2


def test_a_session_is_renewed_when_three_quarters_of_its_time_are_over(
    client: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.call(PING)
    real = time.monotonic
    monkeypatch.setattr("xvmp.client.time.monotonic", lambda: real() + 2699)
    client.call(PING, timeout_s=30)
    assert peer.opened == 1
    monkeypatch.setattr("xvmp.client.time.monotonic", lambda: real() + 2701)
    client.call(PING, timeout_s=30)
    assert peer.opened == 2


def test_threads_share_one_session(client: Client, peer: Peer) -> None:
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda _: client.call(PING).text, range(40)))
    assert texts == ["pong"] * 40
    assert peer.opened == 1
    assert sorted(header.seq for header in peer.headers) == list(range(40))


def test_only_the_session_that_failed_is_forgotten(
    client: Client, peer: Peer
) -> None:
    client.call(PING)
    failed = client._session
    client.renew_session()
    client.call(PING)
    assert failed is not None
    client._forget(failed)
    client.call(PING)
    assert peer.opened == 2


def test_threads_that_lose_a_session_open_one_new_one(
    client: Client, peer: Peer
) -> None:
    client.call(PING)
    peer.sessions.clear()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.call(PING), range(8)))
    assert peer.opened == 2


def test_a_task_is_waited_for(client: Client, peer: Peer) -> None:
    states = ["Running", "Cancelling", "Done"]
    whole = (
        '<Task task="t" verb="PauseVm" vm="v" vm-name="web" state="{}"'
        ' step="s"/>'
    )
    answer = peer.response

    def next_state(header: Header) -> bytes:
        peer.reply = whole.format(states.pop(0))
        return answer(header)

    peer.response = next_state  # type: ignore[method-assign]
    assert client.carry_out(PAUSE).state is model.TaskState.DONE
    assert states == []
    sent = [etree.QName(each[0]).localname for each in peer.requests]
    assert sent == ["PauseVm", "WaitTask", "WaitTask"]


def test_waiting_has_an_end(client: Client, peer: Peer) -> None:
    peer.reply = (
        '<Task task="t" verb="PauseVm" vm="v" vm-name="web"'
        ' state="Running" step="s"/>'
    )
    with pytest.raises(DeadlinePassed) as raised:
        client.carry_out(PAUSE, timeout_s=0.3)
    assert raised.value.maybe_done


def test_a_server_with_another_name_is_refused(
    peer: Peer, operator: Path
) -> None:
    credentials = Credentials.load(operator)
    other = "xvmp://smps-vmm/manager/other"
    with pytest.raises(WrongPeer, match="not xvmp://smps-vmm/manager/other"):
        Client(peer.address, credentials, other).call(PING)
    assert peer.opened == 0


def test_nobody_there_is_said_at_once(peer: Peer, operator: Path) -> None:
    credentials = Credentials.load(operator)
    with pytest.raises(ConnectionLost) as raised:
        Client("127.0.0.1:1", credentials).call(PING)
    assert not raised.value.maybe_done


@pytest.mark.parametrize("address", ["", "host", ":1", "host:", "host:x"])
def test_an_address_has_a_host_and_a_port(
    operator: Path, address: str
) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Client(address, Credentials.load(operator))


def page(*names: str, following: str | None = None) -> str:
    more = f' next="{following}"' if following else ""
    vms = "".join(
        f'<Vm vm="id-{name}" phase="Running" stale="false" vcpus-online="1"'
        f' memory-now-kib="1"><Spec name="{name}" vcpus="1" vcpus-max="1"'
        ' memory-kib="1" memory-max-kib="1" kernel="/k" cmdline=""'
        ' cpu-demand-milli="0" disk-demand-bytes-per-s="0"/></Vm>'
        for name in names
    )
    return f"<Vms{more}>{vms}</Vms>"


def tell(peer: Peer, *replies: str) -> None:
    left, answer = list(replies), peer.response

    def following(header: Header) -> bytes:
        peer.reply = left.pop(0)
        return answer(header)

    peer.response = following  # type: ignore[method-assign]


def test_all_vms_come_page_after_page(client: Client, peer: Peer) -> None:
    tell(
        peer, page("a", "b", following="b"), page("b", "c", following="c"),
        page(),
    )
    assert [vm.spec.name for vm in client.vms()] == ["a", "b", "c"]
    asked = [request[0].get("after") for request in peer.requests]
    assert asked == [None, "b", "c"]


def test_pages_that_go_in_circles_are_left(
    client: Client, peer: Peer
) -> None:
    tell(peer, page("a", following="a"), page("a", following="a"))
    with pytest.raises(UnexpectedReply, match="next page"):
        list(client.vms())
