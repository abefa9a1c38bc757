# SPDX-License-Identifier: MIT OR Apache-2.0
"""Credentials on the disk: whole or not at all, wherever it is cut off."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from authority import Authority

from xvmp import Credentials, store

OLD = "xvmp://smps-vmm/operator/old"
NEW = "xvmp://smps-vmm/operator/new"
FILES = ["ca.pem", "cert.pem", "key.pem", "inner.key"]


@pytest.fixture
def folder(authority: Authority, tmp_path: Path) -> Path:
    return authority.credentials(tmp_path / "old", OLD)


@pytest.fixture
def new(authority: Authority, tmp_path: Path) -> dict[str, bytes]:
    made = authority.credentials(tmp_path / "new", NEW)
    return {name: (made / name).read_bytes() for name in FILES}


class CutOff(Exception):
    pass


def who(folder: Path) -> str:
    return Credentials.load(folder).identity.principal


def test_a_set_takes_the_place_of_another(
    folder: Path, new: dict[str, bytes]
) -> None:
    store.install(folder, new)
    assert who(folder) == NEW
    assert sorted(each.name for each in folder.iterdir()) == sorted(FILES)
    for name in FILES:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "call", ["mkdir", "open", "fsync", "rename", "replace", "rmdir"]
)
@pytest.mark.parametrize("after", range(6))
def test_wherever_it_is_cut_off_one_of_the_two_is_there(
    folder: Path, new: dict[str, bytes], monkeypatch: pytest.MonkeyPatch,
    call: str, after: int,
) -> None:
    real, left = getattr(os, call), [after]

    def cut_off(*given: Any, **named: Any) -> Any:
        if not left[0]:
            raise CutOff
        left[0] -= 1
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, cut_off)
        patched.setattr("shutil.rmtree", lambda *_, **__: None)
        try:
            store.install(folder, new)
        except CutOff:
            pass
    # Files are moved only after the set has its name.
    moves = call in ("replace", "rmdir")
    assert who(folder) in ((NEW,) if moves else (OLD, NEW))
    assert not (folder / "next").exists()
    store.install(folder, new)
    assert who(folder) == NEW


def test_a_set_whose_move_was_cut_off_is_moved_before_reading(
    folder: Path, new: dict[str, bytes]
) -> None:
    store.write_folder(folder / "next", new)
    os.replace(folder / "next/ca.pem", folder / "ca.pem")
    os.replace(folder / "next/cert.pem", folder / "cert.pem")
    assert who(folder) == NEW
    assert not (folder / "next").exists()


def test_what_was_not_written_whole_is_no_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        store.install(folder, dict.fromkeys(FILES, b"rubbish"))
    assert sorted(each.name for each in folder.iterdir()) == sorted(FILES)
    assert who(folder) == OLD


def test_a_reader_never_sees_a_mixture(
    folder: Path, authority: Authority, tmp_path: Path
) -> None:
    made = [
        authority.credentials(tmp_path / str(each), f"{NEW}{each}")
        for each in range(2)
    ]
    sets = [
        {name: (each / name).read_bytes() for name in FILES} for each in made
    ]
    ended = False

    def write() -> None:
        while not ended:
            store.install(folder, sets[1])
            store.install(folder, sets[0])

    writer = Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            # Loading compares the certificate with both keys.
            Credentials.load(folder)
    finally:
        ended = True
        writer.join()
    assert who(folder) == f"{NEW}0"
