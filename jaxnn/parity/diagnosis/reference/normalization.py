"""Batch normalization, its statistics and its running averages."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """Of a batch, for each channel: ``count`` values, their mean and their biased variance."""

    count: int
    mean: np.ndarray
    var: np.ndarray

    @property
    def unbiased_var(self) -> np.ndarray:
        return self.var * self.count / max(self.count - 1, 1)


def statistics(x: np.ndarray) -> Statistics:
    """Of (N, C, ...) for each channel."""
    axes = (0, *range(2, x.ndim))
    return Statistics(x.size // x.shape[1], x.mean(axes), x.var(axes))


def by_channel(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One value per channel, in a shape that meets (N, C, ...)."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def normalize(
    x: np.ndarray, mean: np.ndarray, deviation: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """``deviation`` is what the difference from the mean is divided by: in PyTorch, the root of var + eps."""
    scaled = (x - by_channel(mean, x)) / by_channel(deviation, x)
    return scaled * by_channel(weight, x) + by_channel(bias, x)


def running(start: np.ndarray, seen: Sequence[np.ndarray], momentum: float | None, tracked: int = 0) -> np.ndarray:
    """The running average of ``seen`` from ``start``; ``momentum`` is the new value's weight, None a plain average."""
    for number, value in enumerate(seen, start=tracked + 1):
        weight = 1 / number if momentum is None else momentum
        start = (1 - weight) * start + weight * value
    return start


def normalization_gradient(
    x: np.ndarray, gradient: np.ndarray, weight: np.ndarray, mean: np.ndarray, deviation: np.ndarray, *, batch: bool
) -> np.ndarray:
    """For the input; ``batch``: the statistics are the batch's own and depend on the input."""
    share = gradient * by_channel(weight / deviation, x)
    if not batch:
        return share
    axes = (0, *range(2, x.ndim))
    scaled = (x - by_channel(mean, x)) / by_channel(deviation, x)
    return share - by_channel(share.mean(axes), x) - scaled * by_channel((share * scaled).mean(axes), x)
