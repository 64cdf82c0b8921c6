"""Interleaved timing: the machine's speed drifts, so the rivals take turns and the figures are ratios."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Rates(NamedTuple):
    """Examples a second, one figure a round."""

    values: np.ndarray

    @property
    def quartiles(self) -> list[float]:
        return [float(q) for q in np.percentile(self.values, (25, 50, 75))]


def steps_for(run: Callable[[int], object], seconds: float) -> int:
    """How many steps take about ``seconds``; also warms up."""
    run(3)
    steps = 3
    while True:
        began = time.perf_counter()
        run(steps)
        taken = time.perf_counter() - began
        if taken > seconds / 4:
            return max(int(steps * seconds / taken), 1)
        steps *= 4


def interleave(
    runs: dict[str, Callable[[int], object]], batch_size: int, *, rounds: int, seconds: float
) -> dict[str, Rates]:
    """Times each rival once a round, in an order that changes from round to round."""
    steps = {name: steps_for(run, seconds) for name, run in runs.items()}
    values: dict[str, list[float]] = {name: [] for name in runs}
    random = np.random.default_rng(0)
    for _ in range(rounds):
        for name in random.permutation(list(runs)):
            began = time.perf_counter()
            runs[name](steps[name])
            values[name].append(steps[name] * batch_size / (time.perf_counter() - began))
    return {name: Rates(np.array(rates)) for name, rates in values.items()}
