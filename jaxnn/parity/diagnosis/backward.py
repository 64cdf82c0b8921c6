"""Gradients that differ where values do not: equal maxima of a pool, relu at 0. Judged on JAX's own numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnn.parity.diagnosis.evidence import Evidence, array
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Finding, hypothesis, likeliest
from jaxnn.parity.diagnosis.measure import distance, few_examples
from jaxnn.parity.diagnosis.reference import functions
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError
from jaxnn.parity.diagnosis.reference.gradients import function_gradient, layer_gradient, tied
from jaxnn.parity.diagnosis.span import Span, span_before
from jaxnn.parity.recording import Layer, Op, Recording

_POOL_FIX = (
    "use nnx.max_pool or lax.reduce_window, whose gradient goes to the first of equal maxima as PyTorch's does; "
    "a reshape with max, or jnp.maximum, splits it"
)
_RELU_FIX = "use jax.nn.relu, whose gradient at 0 is 0 as PyTorch's; jnp.maximum(x, 0) has 0.5 there"
_TIES = {"split": "split between equal maxima", "last": "goes to the last", "all": "goes to every one of them"}


def of_gradients(evidence: Evidence) -> Finding | None:
    """The last layer, which the backward pass meets first, before which a known other choice gives JAX's gradient."""
    layers = [i for i, layer in enumerate(evidence.left.layers) if evidence.in_both(layer)]
    for position in reversed(range(len(layers))):
        before = evidence.left.layers[layers[position - 1]].name if position else ""
        found = _to_the_layer_before(evidence, layers[position], before)
        if found is not None:
            return found
    return None


def _to_the_layer_before(evidence: Evidence, index: int, before: str) -> Finding | None:
    """From the output of a layer to that of the layer ``before`` it, or to the inputs."""
    span, layer = span_before(evidence, index), evidence.left.layers[index]
    if span is None:
        return None
    theirs, ours = (_path(evidence, side, span, layer, before) for side in (evidence.left, evidence.right))
    if theirs is None or ours is None:
        return None
    rounding = 1e-7 if evidence.left.precision == "float64" else 1e-3
    if distance(theirs.carried(), theirs.arrived) > rounding:
        return None  # the recording does not say how the gradient went
    reference = ours.carried()
    if distance(reference, ours.arrived) <= rounding:
        return None
    return likeliest(f"gradient for {before or 'the inputs'}", _choices(ours), reference, ours.arrived)


@dataclass(frozen=True, kw_only=True)
class _Path:
    """One side's gradient on its way back, through functions given ``values``: where it set out, how it arrived."""

    ops: tuple[Op, ...]
    masks: tuple[np.ndarray | None, ...]
    values: tuple[np.ndarray, ...]
    departed: np.ndarray
    arrived: np.ndarray

    def carried(self, at: int = -1, **choice: Any) -> np.ndarray:
        """Through PyTorch's functions, but for one choice at the function ``at``."""
        gradient = self.departed
        for i in reversed(range(len(self.ops))):
            choices: Mapping[str, Any] = choice if i == at else {}
            gradient = gradient.reshape(self.values[i + 1].shape)
            gradient = function_gradient(self.ops[i], self.values[i], gradient, mask=self.masks[i], **choices)
        return gradient.reshape(self.arrived.shape)


def _path(evidence: Evidence, recording: Recording, span: Span, layer: Layer, before: str) -> _Path | None:
    """None where not everything was recorded, or is known, that the gradient passes."""
    arrays = recording.arrays
    start = array(arrays, f"forward/{before}/output" if before else "inputs")
    arrived = array(arrays, f"backward/{before}" if before else "gradient/inputs")
    entered, left = (array(arrays, f"forward/{layer.name}/{what}") for what in ("input", "output"))
    departed = array(arrays, f"backward/{layer.name}")
    if start is None or arrived is None or entered is None or left is None or departed is None:
        return None
    if departed.shape != left.shape or arrived.shape != start.shape:
        return None
    keep = (lambda x: x) if layer.kind.startswith("BatchNorm") else few_examples(arrived, start, entered, departed)
    start, arrived, entered, departed = (keep(x) for x in (start, arrived, entered, departed))
    masks = [None if mask is None else keep(mask) for mask in span.masks]
    ops, own = span.ops, functions.as_op(layer)
    try:
        values = [start]
        for op, mask in zip(span.ops, masks, strict=True):
            values.append(functions.apply(op, values[-1], mask))
        if values[-1].size != entered.size or distance(values[-1].reshape(entered.shape), entered) > 1e-4:
            return None
        if own is None:
            departed = layer_gradient(layer, evidence.weights(layer), entered, departed, train=evidence.left.train)
        else:
            mask = evidence.mask(own)
            ops = (*ops, own)
            masks.append(None if mask is None else keep(mask))
            values.append(functions.apply(own, values[-1], masks[-1]))
        path = _Path(ops=ops, masks=tuple(masks), values=tuple(values), departed=departed, arrived=arrived)
        path.carried()
    except (NotSimulatedError, ValueError):  # a function that is not known, or was given something else
        return None
    return path


def _choices(path: _Path) -> Catalogue:
    for i, (op, x) in enumerate(zip(path.ops, path.values, strict=False)):
        if op.name.startswith("max_pool"):
            at_ties = tied(op, x)
            where = f"{at_ties.mean():.2%} of the pool's inputs share a maximum"
            for ties, how in _TIES.items():
                says = f"{where}, and the gradient {how}"
                yield hypothesis("pool-ties", says, _POOL_FIX, lambda i=i, ties=ties: path.carried(i, ties=ties))
            if i == 0:  # what stands before the pool would hide which inputs those are
                yield from _only_at_ties(path, at_ties, where)
        if op.name == "relu":
            for slope in (0.5, 1.0):
                says = f"relu has a slope of {slope} at 0 ({int((x == 0).sum())} inputs are 0)"
                yield hypothesis("activation", says, _RELU_FIX, lambda i=i, s=slope: path.carried(i, at_zero=s))


def _only_at_ties(path: _Path, at_ties: np.ndarray, where: str) -> Catalogue:
    """Shared in some other way: only inputs that share a maximum differ, and in sum they do not."""
    plain, axes = path.carried(), tuple(range(1, at_ties.ndim))
    sums = distance(np.where(at_ties, path.arrived, 0).sum(axes), np.where(at_ties, plain, 0).sum(axes))
    if at_ties.any() and sums < 1e-6 and at_ties.mean() < 0.9:
        says = f"{where}, and only there do gradients differ, with the same sum"
        yield hypothesis("pool-ties", says, _POOL_FIX, lambda: np.where(at_ties, path.arrived, plain))
