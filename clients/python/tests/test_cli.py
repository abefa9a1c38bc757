# SPDX-License-Identifier: MIT OR Apache-2.0
"""The command line, against a peer that says what it is told."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from peer import Peer

from xvmp.__main__ import main, size_kib
from xvmp.model import Phase, Spec, Vm
from xvmp.watch import Change, changes

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


def test_changes_are_what_came_what_went_and_what_is_different() -> None:
    spec = Spec(
        name="a", vcpus=1, vcpus_max=1, memory_kib=1, memory_max_kib=1,
        kernel="/k",
    )

    def vm(name: str, phase: Phase) -> Vm:
        return Vm(
            vm=name, phase=phase, stale=False, vcpus_online=1,
            memory_now_kib=1, spec=spec,
        )

    before = {each: vm(each, Phase.RUNNING) for each in ("same", "old", "x")}
    after = {"same": before["same"], "new": vm("new", Phase.STARTING),
             "x": vm("x", Phase.PAUSED)}
    assert set(changes(before, after)) == {
        Change(before["old"], None),
        Change(None, after["new"]),
        Change(before["x"], after["x"]),
    }
