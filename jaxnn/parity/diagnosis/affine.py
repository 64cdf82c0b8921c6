"""Linear layers and convolutions: bias, padding, layout of the weights, precision of the product."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis import precision
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, Hypothesis, hypothesis
from jaxnn.parity.diagnosis.padding import geometry, paddings
from jaxnn.parity.diagnosis.reference.convolution import linear
from jaxnn.parity.diagnosis.weight_layout import misread
from jaxnn.parity.recording import Layer

KINDS = ("Linear", "Conv1d", "Conv2d", "Conv3d")

_WEIGHTS, _PRODUCTS = 100_000, 20_000_000
"""Numbers of a weight, and multiplications, with which a hypothesis is tried: output features do not depend on one
another, so that some of them will do."""

_NO_BIAS = Claim(
    cause="missing-bias",
    says="without the bias",
    fix="give the layer its bias (use_bias=True, flax's default) and carry PyTorch's over",
)


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A call of a Linear or Conv layer on a few examples, and some of its output ``features``.

    ``weight`` is whole; ``bias`` (in a shape that meets the output), ``arrived`` (JAX's weight, where it is another),
    ``reference`` and ``observed`` are of the features.
    """

    layer: Layer
    weight: np.ndarray
    features: np.ndarray | slice
    bias: np.ndarray | None
    arrived: np.ndarray | None
    x: np.ndarray
    reference: np.ndarray
    observed: np.ndarray

    def product(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Without the bias, as PyTorch pads."""
        if self.layer.kind == "Linear":
            return linear(x, weight)
        g = geometry(self.layer, weight.shape[2:])
        return g.convolved(x, weight, self.reference.shape[2:], before=g.before, mode=g.mode)

    def with_bias(self, product: np.ndarray) -> np.ndarray:
        return product if self.bias is None else product + self.bias


def affine(
    layer: Layer,
    weights: Mapping[str, np.ndarray],
    arrived: np.ndarray | None,
    x: np.ndarray,
    reference: np.ndarray,
    observed: np.ndarray,
) -> Affine | None:
    """None where JAX's output is of another kind, so that no layer like this one gives it.

    ``weights`` are PyTorch's, by their short names, ``arrived`` is the weight of JAX's layer.
    """
    axis = _feature_axis(layer, reference.ndim)
    weight = weights["weight"]
    if observed.ndim != reference.ndim or observed.shape[axis] != len(weight) or len(observed) != len(x):
        return None
    features = _features(layer, weight, reference, observed, axis)
    bias = None if "bias" not in weights else _meeting(layer, weights["bias"], reference.ndim)
    chosen: tuple[slice | np.ndarray, ...] = (slice(None),) * axis + (features,)
    return Affine(
        layer=layer,
        weight=weight,
        features=features,
        bias=None if bias is None else bias[features],
        arrived=None if arrived is None or np.array_equal(arrived, weight) else arrived[features],
        x=x,
        reference=reference[chosen],
        observed=observed[chosen],
    )


def hypotheses(a: Affine, *, run: str) -> Catalogue:
    """One fault each; ``run`` is the run's precision."""
    weight = a.weight[a.features]
    if a.arrived is not None:  # that is said where the weights are compared, and follows here
        arrived = a.arrived
        yield Hypothesis(claims=(), predict=lambda: a.with_bias(a.product(a.x, arrived)))
    yield from biases(a.layer, a.bias, a.reference, a.observed)
    yield from _padded(a)
    yield from precision.products(lambda x, w: a.with_bias(a.product(x, w)), a.x, weight, precision=run)
    for claim, other in misread(a.weight, a.features):
        yield Hypothesis(claims=(claim,), predict=lambda other=other: a.with_bias(a.product(a.x, other)))


def pairs(a: Affine) -> Catalogue:
    """The same without the bias."""
    if a.bias is None:
        return
    yield from _padded(a, without_bias=True)
    for claim, other in misread(a.weight, a.features):
        yield Hypothesis(claims=(claim, _NO_BIAS), predict=lambda other=other: a.product(a.x, other))


def biases(layer: Layer, bias: np.ndarray | None, reference: np.ndarray, observed: np.ndarray) -> Catalogue:
    """The bias of any layer, in a shape that meets its output, left out; or one where PyTorch has none."""
    if bias is not None:
        yield Hypothesis(claims=(_NO_BIAS,), predict=lambda: reference - bias)
    elif reference.shape == observed.shape and reference.ndim > 1:
        axis = _feature_axis(layer, reference.ndim)
        others = tuple(i for i in range(reference.ndim) if i != axis)
        if reference.size >= 3 * reference.shape[axis]:  # of fewer values any difference would look like a bias
            shift = (observed - reference).mean(others, keepdims=True)
            if not np.isfinite(shift).all():
                return  # NaN explains NaN, and says nothing
            yield hypothesis(
                "missing-bias",
                f"a bias of up to {np.abs(shift).max():.3g} that PyTorch's layer does not have",
                "build the layer with use_bias=False, as PyTorch's has bias=False",
                lambda: reference + shift,
            )


def bias_of(layer: Layer, weights: Mapping[str, np.ndarray], reference: np.ndarray) -> np.ndarray | None:
    """A layer's bias in a shape that meets its output; None if it has none that could."""
    bias = weights.get("bias")
    if bias is None or bias.size != reference.shape[_feature_axis(layer, reference.ndim)]:
        return None
    return _meeting(layer, bias, reference.ndim)


def _padded(a: Affine, *, without_bias: bool = False) -> Iterator[Hypothesis]:
    if a.layer.kind == "Linear":
        return
    weight = a.weight[a.features]
    g, out = geometry(a.layer, weight.shape[2:]), a.observed.shape[2:]
    for found in paddings(a.layer, g, a.x.shape[2:], out):

        def product(before: tuple[int, ...] = found.before, mode: str = found.mode) -> np.ndarray:
            return g.convolved(a.x, weight, out, before=before, mode=mode)

        if without_bias:
            yield Hypothesis(claims=(found.claim, _NO_BIAS), predict=product)
        else:
            yield Hypothesis(claims=(found.claim,), predict=lambda product=product: a.with_bias(product()))


def _features(
    layer: Layer, weight: np.ndarray, reference: np.ndarray, observed: np.ndarray, axis: int
) -> np.ndarray | slice:
    """Some output features, the one that differs most among them; all where that is not much."""
    positions = reference.size // reference.shape[axis]
    keep = max(1, min(_WEIGHTS, _PRODUCTS // positions) // max(weight[0].size, 1))
    if keep >= len(weight) or layer.options.get("groups", 1) > 1:
        return slice(None)
    chosen = np.arange(keep)
    if reference.shape == observed.shape:
        others = tuple(i for i in range(reference.ndim) if i != axis)
        chosen[-1] = max(keep - 1, int(np.argmax(np.abs(observed - reference).max(others))))
    return chosen


def _feature_axis(layer: Layer, ndim: int) -> int:
    channels_second = layer.kind.startswith(("Conv", "BatchNorm", "GroupNorm", "InstanceNorm"))
    return 1 if channels_second else ndim - 1


def _meeting(layer: Layer, bias: np.ndarray, ndim: int) -> np.ndarray:
    return bias.reshape(-1, *[1] * (ndim - 2)) if _feature_axis(layer, ndim) == 1 else bias
