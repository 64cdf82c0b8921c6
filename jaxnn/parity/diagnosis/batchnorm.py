"""The output of batch normalization: which statistics it normalizes by, and eps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis.hypothesis import Catalogue, Hypothesis, hypothesis
from jaxnn.parity.diagnosis.measure import FORMATS, distance
from jaxnn.parity.diagnosis.reference.normalization import by_channel, normalize, statistics
from jaxnn.parity.recording import Layer

_EPS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-2, 1e-7, 1e-8, 1e-12, 0.0)
_FLOAT32_STATISTICS = 1e-4
"""How far a mean and a variance may be off by having been computed in float32."""

TRAIN_FIX = "call model.train() before training: nnx.BatchNorm then has use_running_average=False"
EVAL_FIX = "call model.eval() before evaluation: nnx.BatchNorm then has use_running_average=True"
VARIANCE_FIX = (
    "PyTorch normalizes by the biased variance of the batch and moves the running variance by the unbiased one, "
    "n / (n - 1) times as large; flax's BatchNorm takes the biased one for both. Use jaxnn.nn.BatchNorm2d, or correct "
    "the running variance after each step"
)
Chosen = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """A call of a BatchNorm layer: the whole input, and the part ``x`` of it on which hypotheses are tried."""

    layer: Layer
    weights: Mapping[str, np.ndarray]
    whole: np.ndarray
    x: np.ndarray
    train: bool

    @property
    def eps(self) -> float:
        return self.layer.options.get("eps", 1e-5)

    def result(self, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        weight = self.weights.get("weight", np.ones_like(mean))
        return normalize(self.x, mean, deviation, weight, self.weights.get("bias", np.zeros_like(mean)))

    def chosen(self) -> tuple[Chosen, Chosen | None]:
        """(mean, variance): PyTorch's, and those that it takes in the other mode."""
        seen = statistics(self.whole)
        batch = seen.mean, seen.var
        if "running_mean" not in self.weights:
            return batch, None
        kept = self.weights["running_mean"], self.weights["running_var"]
        return (batch, kept) if self.train else (kept, batch)


def outputs(n: Normalization, observed: np.ndarray) -> Catalogue:
    """Of the layer's output, one fault each."""
    (mean, var), other = n.chosen()
    if other is not None:
        yield _other_mode(n, other)
    yield hypothesis(
        "batchnorm-eps",
        f"eps = {n.eps:g} added to the standard deviation, outside of the root",
        _eps_fix(n.eps),
        lambda: n.result(mean, np.sqrt(var) + n.eps),
    )
    count = n.whole.size // n.whole.shape[1]
    if n.train and count > 1:
        yield hypothesis(
            "batchnorm-running-variance",
            f"the batch normalized by its unbiased variance, n / (n - 1) with n = {count} times the biased one",
            VARIANCE_FIX,
            lambda: n.result(mean, np.sqrt(var * count / (count - 1) + n.eps)),
        )
    for eps in (*_EPS, *_solved_eps(n, mean, var, observed)):
        if eps != n.eps:
            yield _other_eps(n, mean, var, eps)
    yield from _in_float32(n, mean, var, observed)


def output_pairs(n: Normalization, observed: np.ndarray) -> Catalogue:
    """The statistics of the other mode, with another eps."""
    _, other = n.chosen()
    if other is not None:
        for eps in (*_EPS, *_solved_eps(n, *other, observed)):
            second = _other_eps(n, *other, eps)
            yield Hypothesis(claims=(*_other_mode(n, other).claims, *second.claims), predict=second.predict)


def _other_mode(n: Normalization, other: Chosen) -> Hypothesis:
    says = (
        "normalized by the running statistics, in training"
        if n.train
        else "normalized by the batch's statistics, in evaluation"
    )
    fix = TRAIN_FIX if n.train else EVAL_FIX
    return hypothesis("train-eval-mode", says, fix, lambda: n.result(other[0], np.sqrt(other[1] + n.eps)))


def _other_eps(n: Normalization, mean: np.ndarray, var: np.ndarray, eps: float) -> Hypothesis:
    return hypothesis(
        "batchnorm-eps",
        f"eps = {eps:.6g}, the same for all {mean.size} channels, in place of {n.eps:g}",
        _eps_fix(n.eps),
        lambda: n.result(mean, np.sqrt(var + eps)),
    )


def _eps_fix(eps: float) -> str:
    return f"give the layer epsilon={eps:g}, PyTorch's eps, which belongs inside the root: (x - mean) / sqrt(var + eps)"


def _slopes(n: Normalization, mean: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """By what JAX multiplied the difference from the mean, in each channel."""
    axes = (0, *range(2, n.x.ndim))
    centred = n.x - by_channel(mean, n.x)
    bias, weight = n.weights.get("bias", np.zeros_like(mean)), n.weights.get("weight", np.ones_like(mean))
    result = (observed - by_channel(bias, n.x)) / by_channel(weight, n.x)
    return (centred * result).sum(axes) / (centred**2).sum(axes)


def _solved_eps(n: Normalization, mean: np.ndarray, var: np.ndarray, observed: np.ndarray) -> Iterator[float]:
    """Of one channel any factor would look like an eps: two must agree on it."""
    if observed.shape != n.x.shape or mean.size < 2:
        return
    eps = 1 / _slopes(n, mean, observed) ** 2 - var
    usable = np.flatnonzero(np.isfinite(eps))
    if usable.size:
        yield float(eps[usable[np.argmin(var[usable])]])  # where it weighs most, it is known best


def _in_float32(n: Normalization, mean: np.ndarray, var: np.ndarray, observed: np.ndarray) -> Catalogue:
    """Statistics rounded to float32 in a wider run: solved from the numbers, then found to be such."""
    rounded = FORMATS["float32"].rounded
    if observed.shape != n.x.shape or n.x.size // mean.size < 4:
        return
    axes = (0, *range(2, n.x.ndim))
    centred = n.x - n.x.mean(axes, keepdims=True)
    slope = ((observed - observed.mean(axes, keepdims=True)) * centred).sum(axes) / (centred**2).sum(axes)
    bias, weight = n.weights.get("bias", np.zeros_like(mean)), n.weights.get("weight", np.ones_like(mean))
    own_mean = rounded(n.x.mean(axes) - (observed.mean(axes) - bias) / slope)
    own_var = rounded((weight / slope) ** 2 - n.eps)
    if max(distance(own_mean, mean), distance(own_var, var)) > _FLOAT32_STATISTICS:
        return  # they are others altogether
    yield hypothesis(
        "dtype",
        "normalized by a mean and a variance that are float32 numbers",
        "compute the statistics in the run's precision: dtype=jnp.float64 and param_dtype=jnp.float64",
        lambda: n.result(own_mean, np.sqrt(own_var + n.eps)),
    )
