# SPDX-License-Identifier: MIT OR Apache-2.0
"""What changes in a pool, as it changes.

A ``Follower`` asks with ``WaitEvents`` and keeps two things: the cursor, and
each object as it was last. So it says what was before, what is gone, and,
when the manager begins with everything again, what nobody has told it.

Once the manager has answered, the follower lives through its restarts: what
is not the caller's fault is tried again, after a pause that grows to ten
seconds. Between two changes its user may take as long as he likes; he gets
the state of then, and not all that was in between.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .client import TIMEOUT_S, Client
from .faults import Fault, HttpRefused, TransportError, XvmpError
from .model import Events, Host, ObjectKind, Task, Vm
from .verbs import WaitEvents

Thing: TypeAlias = Host | Vm | Task
Key: TypeAlias = tuple[ObjectKind, str]

#: How long the manager may wait for a change; more than 55 s it does not.
WAIT_S = 50.0
_PAUSE_S_FIRST = 0.5
_PAUSE_S_MAX = 10.0


@dataclass(frozen=True)
class Change:
    """``before`` is None for what is new, ``after`` for what is gone."""

    before: Thing | None
    after: Thing | None


class Follower:
    """Changes of one pool; for one thread.

    ``count_max`` is how many objects one answer may have (at most 1000).
    What is ``False`` of the three kinds does not come. ``on_trouble`` is told
    why there is a pause, and may raise to end it all.
    """

    def __init__(
        self,
        client: Client,
        *,
        hosts: bool = True,
        vms: bool = True,
        tasks: bool = True,
        count_max: int = 1000,
        wait_s: float = WAIT_S,
        on_trouble: Callable[[XvmpError], None] = lambda _error: None,
    ) -> None:
        self._client = client
        self._hosts, self._vms, self._tasks = hosts, vms, tasks
        self._count_max = count_max
        self._wait_s = wait_s
        self._on_trouble = on_trouble
        self._answered = False
        self._cursor = ""
        self._known: dict[Key, Thing] = {}
        #: What has come since a resync began; None when there is none.
        self._fresh: set[Key] | None = None

    @property
    def known(self) -> tuple[Thing, ...]:
        """What there is, as far as it has been told."""
        return tuple(self._known.values())

    def __iter__(self) -> Iterator[Change]:
        """Begins with all that is there, and never ends by itself."""
        while True:
            yield from self.step()

    def step(self) -> list[Change]:
        """One answer: what it changes, maybe nothing."""
        events = self._ask_until_answered()
        changes = self._take(events)
        self._cursor = events.cursor
        return changes

    def _ask_until_answered(self) -> Events:
        pause_s = _PAUSE_S_FIRST
        while True:
            try:
                events = self._ask()
            except (TransportError, Fault) as error:
                if not self._answered or not _passes(error):
                    raise
                self._on_trouble(error)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
            else:
                self._answered = True
                return events

    def _ask(self) -> Events:
        verb = WaitEvents(
            cursor=self._cursor,
            wait_ms_max=int(self._wait_s * 1000),
            count_max=self._count_max,
            hosts=None if self._hosts else False,
            vms=None if self._vms else False,
            tasks=None if self._tasks else False,
        )
        return self._client.call(verb, timeout_s=self._wait_s + TIMEOUT_S)

    def _take(self, events: Events) -> list[Change]:
        if events.resync:
            self._fresh = set()
        changes = [self._set(_key(each), each) for each in _things(events)]
        changes += [
            self._set((each.object, each.id), None) for each in events.gone
        ]
        if self._fresh is not None and not events.more:
            lost = [key for key in self._known if key not in self._fresh]
            changes += [self._set(key, None) for key in lost]
            self._fresh = None
        return [
            each for each in changes
            if _lasting(each.before) != _lasting(each.after)
        ]

    def _set(self, key: Key, after: Thing | None) -> Change:
        before = self._known.pop(key, None)
        if after is not None:
            self._known[key] = after
            if self._fresh is not None:
                self._fresh.add(key)
        return Change(before, after)


def watch(client: Client) -> Iterator[Change]:
    """All that changes, beginning with all that is there; no end."""
    return iter(Follower(client))


def _things(events: Events) -> tuple[Thing, ...]:
    return (*events.hosts, *events.vms, *events.tasks)


def _key(thing: Thing) -> Key:
    if isinstance(thing, Host):
        return ObjectKind.HOST, thing.host
    if isinstance(thing, Vm):
        return ObjectKind.VM, thing.vm
    return ObjectKind.TASK, thing.task


def _lasting(thing: Thing | None) -> Thing | None:
    """Without what changes all the time and is no event."""
    if isinstance(thing, Host):
        return dataclasses.replace(thing, load=None, heard_ms_ago=None)
    return thing


def _passes(error: TransportError | Fault) -> bool:
    """Whether it makes sense to ask the same again."""
    if isinstance(error, Fault):
        return error.retryable
    return not isinstance(error, HttpRefused) or error.status >= 500
