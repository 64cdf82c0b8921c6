"""Initialization: is what the NNX model was built with drawn as PyTorch's layers draw by default?

One model is one sample, so distributions are compared by a Kolmogorov-Smirnov test, besides their exact bounds.
A PyTorch layer that is not at its default itself, being trained or initialized by hand, says nothing and is left out.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from jaxnn.parity.recording import Layer, Recording
from jaxnn.parity.report import Entry

_LIKELY, _FALSE_ALARM = 1e-3, 1e-7  # of a test of the reference, and of a test of the port
_ROUNDING = 1e-6


class _Default(NamedTuple):
    """A distribution that values are drawn from, or the one ``value`` that all have."""

    about: str
    distribution: Any = None
    value: float | None = None
    bound: float = math.inf

    def distance(self, sample: np.ndarray) -> tuple[float, float]:
        """How far a sample is from it, 0 to 1, and how far it would be at most but for one in ten million."""
        values = np.asarray(sample, np.float64).ravel()
        if self.value is not None:
            return float(np.abs(values - self.value).max() > _ROUNDING), 0.0
        if np.abs(values).max() > self.bound * (1 + _ROUNDING) or (values.size > 1 and np.ptp(values) == 0):
            return 1.0, self._limit(values.size, _FALSE_ALARM)
        return float(stats.kstest(values, self.distribution.cdf).statistic), self._limit(values.size, _FALSE_ALARM)

    def fits(self, sample: np.ndarray) -> bool:
        """Whether a sample may well be of it."""
        distance, _ = self.distance(sample)
        return distance <= (0.0 if self.value is not None else self._limit(sample.size, _LIKELY))

    @staticmethod
    def _limit(size: int, probability: float) -> float:
        return min(float(stats.kstwo.isf(probability, size)), 1 - _ROUNDING)


def entries(left: Recording, right: Recording) -> Iterator[Entry]:
    """One for each tensor whose PyTorch values are at their default; ``error`` is the Kolmogorov-Smirnov distance.

    A layer of Flax's own that kept Flax's default is noted and does not fail: its weights are carried over.
    """
    paths = {layer.module: layer for layer in reversed(right.layers)}
    for layer in {layer.module: layer for layer in left.layers}.values():
        for name, default in _defaults(left, layer).items():
            key = f"{layer.module}.{name}"
            ours, theirs = right.arrays.get(f"initial/{key}"), left.arrays[f"weight/{key}"]
            if ours is None or not default.fits(theirs):
                continue
            distance, limit = default.distance(ours)
            port = paths.get(layer.module)
            stock = port is not None and _is_stock(port) and _is_flax_default(name, ours, left, layer)
            yield Entry(
                level="init",
                torch_name=key,
                nnx_path="" if port is None else port.path,
                what="distribution",
                error=distance,
                tolerance=limit,
                advisory=stock,
                note=_note(ours, default, stock) if distance > limit else "",
            )


def _defaults(left: Recording, layer: Layer) -> dict[str, _Default]:
    """What PyTorch draws a layer's tensors from."""
    own = {name: left.arrays.get(f"weight/{layer.module}.{name}") for name in ("weight", "bias")}
    found: dict[str, _Default] = {}
    if layer.kind in ("Linear", "Conv1d", "Conv2d", "Conv3d") and own["weight"] is not None:
        bound = 1 / math.sqrt(own["weight"][0].size)
        uniform = stats.uniform(-bound, 2 * bound)
        found = dict.fromkeys(own, _Default(f"uniform within {bound:.4g}, 1/sqrt(fan_in)", uniform, bound=bound))
    elif layer.kind == "Embedding":
        found = {"weight": _Default("normal with standard deviation 1", stats.norm())}
    elif layer.kind.startswith(("BatchNorm", "LayerNorm", "GroupNorm")):
        found = {"weight": _Default("ones", value=1.0), "bias": _Default("zeros", value=0.0)}
    return {name: default for name, default in found.items() if own[name] is not None}


def _is_stock(layer: Layer) -> bool:
    return str(layer.options.get("class", "")).startswith("flax.")


def _is_flax_default(name: str, ours: np.ndarray, left: Recording, layer: Layer) -> bool:
    """lecun_normal kernels and zero biases."""
    if name == "bias":
        return not ours.any()
    if layer.kind == "Embedding":
        return True
    scale = 1 / math.sqrt(ours[0].size) / 0.87962566103423978  # the standard deviation of a normal cut at 2
    distance, limit = _Default("", stats.truncnorm(-2, 2, scale=scale)).distance(ours)
    return distance <= limit


def _note(ours: np.ndarray, default: _Default, stock: bool) -> str:
    found = f"values within {np.abs(ours).max():.4g}, standard deviation {ours.std():.4g}; PyTorch: {default.about}"
    return f"{found}; Flax's own default, for models trained from scratch" if stock else found
