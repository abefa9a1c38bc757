# SPDX-License-Identifier: MIT OR Apache-2.0
"""The command line, against a peer that says what it is told."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest
from authority import Authority
from peer import Bent, Peer
from registrar import WHO, Registrar
from test_watch import events, gone, host, task, vm

from xvmp.__main__ import main, size_kib
from xvmp.keys import Header

FAULT = (
    '<Fault code="UnknownVm" hop="manager" retryable="false"'
    ' message="no web"/>'
)
DONE = (
    '<Task task="t" verb="PauseVm" vm="v" vm-name="web" state="Done" step=""/>'
)
FAILED = (
    '<Task task="t" verb="PauseVm" vm="v" vm-name="web" state="Failed"'
    f' step="">{FAULT}</Task>'
)
CANCELLED = DONE.replace("Done", "Cancelled")


def run(peer: Peer, operator: Path, *command: str) -> int:
    return main(
        ["--manager", peer.address, "--credentials", str(operator), *command]
    )


def test_a_command_is_one_verb(
    peer: Peer, operator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.reply = DONE
    assert run(peer, operator, "pause", "web", "--idem", "k") == 0
    assert capsys.readouterr().out == "t  PauseVm web  Done\n"
    (request,) = peer.requests
    assert request.get("idem") == "k"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (FAULT, "xvmp: UnknownVm (manager): no web\n"),
        (FAILED, "xvmp: UnknownVm (manager): no web\n"),
        (CANCELLED, "xvmp: Cancelled (manager): PauseVm: \n"),
    ],
)
def test_a_fault_stands_on_standard_error(
    peer: Peer, operator: Path, capsys: pytest.CaptureFixture[str],
    reply: str, text: str,
) -> None:
    peer.reply = reply
    assert run(peer, operator, "pause", "web") == 1
    assert capsys.readouterr().err == text


def test_a_console_does_not_steer_the_terminal(
    peer: Peer, operator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.reply = '<ConsoleText dropped-bytes="0" data="YRtbMm0NCmI="/>'
    assert run(peer, operator, "console", "web") == 0
    assert capsys.readouterr().out == "a·[2m\nb\n"


def test_missing_credentials_are_named(
    peer: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(peer, tmp_path, "list") == 1
    assert "cert.pem" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "memory web 512M" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "kib"),
    [("512", 512), ("512K", 512), ("64M", 65_536), ("2G", 2 << 20),
     ("1T", 1 << 30)],
)
def test_sizes(text: str, kib: int) -> None:
    assert size_kib(text) == kib


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5G", "1 G", "1P", "٣M"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size_kib(text)


def test_a_watcher_prints_what_comes_and_goes(
    peer: Peer, operator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = peer.response
    replies = [
        events("1", vm("web"), host(1), task("Done")),
        events("2", vm("web", "Paused")),
        events("3", *(gone(kind, ident) for kind, ident in (
            ("Vm", "id-web"), ("Host", "h"), ("Task", "t")
        ))),
    ]

    def next_reply(header: Header) -> bytes:
        peer.reply = replies.pop(0) if replies else events("3")
        return answer(header)

    peer.response = next_reply  # type: ignore[method-assign]
    peer.script += [keep, keep, keep, ended]
    assert run(peer, operator, "watch") == 1
    assert capsys.readouterr().out.splitlines() == [
        "host  h1  Up  h1:1  0 VMs",
        "vm    web  Running  -  1 vCPUs  0 MiB",
        "task  t  PauseVm a  Done",
        "vm    web  Paused  -  1 vCPUs  0 MiB",
        "vm    web  is gone",
        "host  h1  is gone",
        "task  t  is gone",
    ]


def keep(body: bytes) -> Bent:
    return 200, {}, body


def ended(_body: bytes) -> Bent:
    return 404, {}, b""


def test_where_may_stand_behind_the_command(
    peer: Peer, operator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.reply = DONE
    assert main([
        "--manager", "127.0.0.1:1", "pause", "web",
        "--manager", peer.address, "--credentials", str(operator),
    ]) == 0
    assert capsys.readouterr().out == "t  PauseVm web  Done\n"


@pytest.mark.parametrize("missing", ["manager", "credentials"])
def test_where_must_be_said(
    missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--manager": "127.0.0.1:1", "--credentials": "nowhere"}
    del given[f"--{missing}"]
    with pytest.raises(SystemExit) as raised:
        main([*(each for pair in given.items() for each in pair), "list"])
    assert raised.value.code == 2
    assert f"--{missing} is missing" in capsys.readouterr().err


def test_joining_says_who_one_is(
    authority: Authority, manager: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Registrar(authority, manager) as registrar:
        for name, given, typed in (
            ("one", registrar.token(), ""),
            ("two", "-", f"{registrar.token()}\n"),
        ):
            monkeypatch.setattr("sys.stdin", io.StringIO(typed))
            assert main([
                "join", "--manager", registrar.address, "--token", given,
                "--credentials", str(tmp_path / name),
            ]) == 0
            assert capsys.readouterr().out.startswith(f"{WHO}  until 20")
            assert (tmp_path / name / "cert.pem").exists()


def test_what_is_no_token_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([
        "join", "--manager", "127.0.0.1:1", "--token", "xvmpj1.secret",
        "--credentials", str(tmp_path),
    ]) == 1
    said = capsys.readouterr().err
    assert said.startswith("xvmp: this is no token") and "secret" not in said
