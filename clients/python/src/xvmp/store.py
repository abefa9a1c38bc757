# SPDX-License-Identifier: MIT OR Apache-2.0
"""Credentials on the disk, changed whole or not at all (section 1).

A new set is written beside the old one, flushed, given the name ``next``,
and then moved over the old one, file by file. Whoever reads a directory calls
``settle`` first: a ``next`` that is there is a whole set whose move was cut
off. All of this may be done by several processes at once; the last set wins.

Files have mode 0600, directories 0700. It fails by ``OSError``.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

CA, CERTIFICATE, KEY, INNER_KEY = "ca.pem", "cert.pem", "key.pem", "inner.key"
_FILES = (CA, CERTIFICATE, KEY, INNER_KEY)
_NEXT = "next"
_TRIES = 10


def settle(folder: Path) -> None:
    """Finishes what ``install`` began, if it was cut off."""
    whole = folder / _NEXT
    if not whole.is_dir():
        return
    for name in _FILES:
        with suppress(FileNotFoundError):  # it was moved already
            os.replace(whole / name, folder / name)
    _flush(folder)
    try:
        whole.rmdir()
    except OSError as error:
        # Another process was faster, or has a newer set there by now.
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def install(folder: Path, files: Mapping[str, bytes]) -> None:
    """Puts a whole set, by the names of its files, in place of the old."""
    for left in reversed(range(_TRIES)):
        settle(folder)
        try:
            write_folder(folder / _NEXT, files)
            break
        except OSError as error:
            if not left or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    settle(folder)


def state(folder: Path) -> list[tuple[int, int] | None]:
    """Differs when one of the files has been replaced in between."""
    found: list[tuple[int, int] | None] = []
    for name in _FILES:
        try:
            status = os.stat(folder / name)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns))
    return found


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """A folder that appears with all of its files, or not at all."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        for name, content in files.items():
            _write(stage / name, content)
        _flush(stage)
        os.rename(stage, folder)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    _flush(folder.parent)


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Makes names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
