"""The projection at its limits, where what it must give is known."""

import dataclasses
import math

import pytest

from .projection import ACCELERATORS, BANDWIDTH_SHARE, START, Accelerator, Link, Work, all_reduce, efficiency, step

_WORK = Work(flops=1e9, gradients=40e6, awaited=(4.0, 2048.0))
_COUNTS = (1, 2, 8, 16, 64, 256, 1024)
# 0.1 us an example; 8 devices a box.
_ROUND = Accelerator("round", 2e16, 0.5, 8, 1, Link(1e9 / BANDWIDTH_SHARE, 1e-6), Link(1e8 / BANDWIDTH_SHARE, 1e-5), ())
_FREE = Link(math.inf, 0.0)


@pytest.mark.parametrize("on", ACCELERATORS, ids=lambda on: on.name)
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("weak", [False, True])
def test_efficiency_is_at_most_one_and_never_rises(on: Accelerator, overlap: bool, weak: bool) -> None:
    found = [efficiency(_WORK, on, count, 1024, weak=weak, overlap=overlap) for count in _COUNTS]
    assert found[0] == 1
    assert found == sorted(found, reverse=True) and found[-1] > 0
    if not overlap:
        hidden = [efficiency(_WORK, on, count, 1024, weak=weak, overlap=True) for count in _COUNTS]
        assert all(low <= high for low, high in zip(found, hidden, strict=True))


def test_by_hand() -> None:
    inside = START + 14e-6 + 2 * 7 / 8 * 1e6 / 1e9
    assert all_reduce(1e6, 8, _ROUND) == pytest.approx(inside)
    assert all_reduce(1e6, 32, _ROUND) == pytest.approx(inside + 2 * 2 * 1e-5 + 2 * 3 / 4 * 1e6 / 8 / 1e8)
    torus = dataclasses.replace(_ROUND, box=256, axes=2)
    assert all_reduce(1.0, 256, torus) == pytest.approx(START + 2 * 2 * 15 * 1e-6, rel=1e-4)
    work = Work(flops=1e9, gradients=1e6, awaited=(1.0, 1.0))
    compute, waiting = 1e-7 * 10**5, 2 * all_reduce(1.0, 8, _ROUND)
    assert step(work, _ROUND, 8, 10**5, overlap=False) == pytest.approx(compute + inside + waiting)
    assert step(work, _ROUND, 8, 10**5, overlap=True) == pytest.approx(compute + waiting)
    assert step(work, _ROUND, 8, 1, overlap=True) == pytest.approx(inside + waiting)


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("overlap", [False, True])
def test_without_communication_nothing_is_lost(weak: bool, overlap: bool) -> None:
    assert efficiency(Work(1e9, 0.0, ()), _ROUND, 1024, 2**20, weak=weak, overlap=overlap) == pytest.approx(1)
    assert all_reduce(1e9, 1, _ROUND) == 0


def test_of_infinite_bandwidth_the_latency_is_left() -> None:
    on = dataclasses.replace(_ROUND, inside=Link(math.inf, 1e-6), between=Link(math.inf, 1e-5))
    assert all_reduce(1e12, 1024, on) == pytest.approx(START + 14e-6 + 2 * 7 * 1e-5)


def test_of_no_latency_the_bytes_are_left() -> None:
    on = dataclasses.replace(_ROUND, inside=Link(1e9, 0.0), between=_FREE)
    assert all_reduce(1e9, 8, on) - START == pytest.approx(2 * 7 / 8 / BANDWIDTH_SHARE)


def test_strong_scaling_ends_with_the_batch() -> None:
    silent = Work(1e9, 0.0, ())
    found = {count: efficiency(silent, _ROUND, count, 64, weak=False, overlap=True) for count in (64, 128, 1024)}
    assert found == pytest.approx({64: 1, 128: 1 / 2, 1024: 1 / 16})
