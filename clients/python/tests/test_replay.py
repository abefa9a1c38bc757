# SPDX-License-Identifier: MIT OR Apache-2.0
"""The replay window, against a set that remembers everything."""

from __future__ import annotations

import random

import pytest

from xvmp.envelope import ReplayWindow


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_a_set_that_remembers_everything(seed: int) -> None:
    chance = random.Random(seed)
    window, seen, newest = ReplayWindow(), set[int](), -1
    for _ in range(2000):
        seq = max(0, newest + chance.choice(
            [1, 1, 1, 2, -1, -1023, -1024, 1023, 1024, 1025]
        ) + chance.randrange(-3, 4))
        expected = seq not in seen and seq > newest - 1024
        assert window.fresh(seq) is expected, (seq, newest)
        if expected:
            window.mark(seq)
            seen.add(seq)
            newest = max(newest, seq)


def test_zero_is_fresh_once() -> None:
    window = ReplayWindow()
    assert window.fresh(0)
    window.mark(0)
    assert not window.fresh(0)


def test_1023_below_is_in_and_1024_is_out() -> None:
    window = ReplayWindow()
    window.mark(2000)
    assert window.fresh(2000 - 1023)
    assert not window.fresh(2000 - 1024)


def test_a_leap_costs_no_memory() -> None:
    window = ReplayWindow()
    window.mark(0)
    window.mark((1 << 64) - 1)
    assert not window.fresh(0)
    assert window.fresh((1 << 64) - 2)
    assert not window.fresh((1 << 64) - 1)


def test_looking_is_not_marking() -> None:
    window = ReplayWindow()
    assert window.fresh(5) and window.fresh(5)
