"""Interleaved timing: the machine's speed drifts, so the rivals take turns and the figures are ratios."""

from collections.abc import Callable, Mapping

import numpy as np

Run = Callable[[int], float]
"""Goes on by so many steps and returns how many seconds they took."""


def steps_for(run: Run, seconds: float) -> int:
    """How many steps take about ``seconds``. Its first call is not looked at: it may compile."""
    run(1)
    steps = 1
    while True:
        taken = run(steps)
        if taken > seconds / 4:
            return max(round(steps * seconds / taken), 1)
        steps = max(steps + 1, min(steps * 10, round(steps * seconds / 2 / max(taken, 1e-9))))


def interleave(runs: Mapping[str, Run], *, rounds: int, seconds: float) -> dict[str, np.ndarray]:
    """Steps a second of each rival, (rounds,): each runs once a round, in an order that changes from round to round."""
    steps = {name: steps_for(run, seconds) for name, run in runs.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    random = np.random.default_rng(0)
    for _ in range(rounds):
        for name in random.permutation(list(runs)):
            rates[name].append(steps[name] / runs[name](steps[name]))
    return {name: np.array(values) for name, values in rates.items()}


def quartiles(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(values, (25, 50, 75))]
