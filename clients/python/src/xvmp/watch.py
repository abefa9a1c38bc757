# SPDX-License-Identifier: MIT OR Apache-2.0
"""Changes of VMs, one after the other.

``watch`` asks again and again, and says what is different. It misses what
comes and goes between two questions. Whatever a manager one day tells by
itself takes this room's place; ``Change`` stays as it is.

It fails as ``Client.call`` does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from .client import Client
from .model import Vm
from .verbs import ListVms


@dataclass(frozen=True)
class Change:
    """``before`` is None for a new VM, ``after`` for one that is gone."""

    before: Vm | None
    after: Vm | None


def watch(client: Client, interval_s: float = 1.0) -> Iterator[Change]:
    """Begins with each VM that is there, and never ends by itself."""
    known: dict[str, Vm] = {}
    while True:
        now = {vm.vm: vm for vm in client.call(ListVms()).vms}
        yield from changes(known, now)
        known = now
        time.sleep(interval_s)


def changes(before: dict[str, Vm], after: dict[str, Vm]) -> Iterator[Change]:
    """What differs between two sights of a pool, by id."""
    for vm in before.keys() | after.keys():
        if before.get(vm) != after.get(vm):
            yield Change(before.get(vm), after.get(vm))
