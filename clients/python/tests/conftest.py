# SPDX-License-Identifier: MIT OR Apache-2.0
"""What several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from peer import Peer

from xvmp import Client, Credentials
from xvmp.credentials import MANAGER

OPERATOR = "xvmp://smps-vmm/operator/tester"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def operator(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("pool") / "operator"
    return authority.credentials(folder, OPERATOR)


@pytest.fixture(scope="session")
def manager(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("pool") / "manager"
    return authority.credentials(folder, MANAGER)


@pytest.fixture
def peer(manager: Path) -> Iterator[Peer]:
    with Peer(manager) as running:
        yield running


@pytest.fixture
def client(peer: Peer, operator: Path) -> Iterator[Client]:
    with Client(peer.address, Credentials.load(operator)) as talking:
        yield talking
