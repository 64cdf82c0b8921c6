"""Gradients that differ where values do not: equal maxima of a pool, relu at 0. Judged on JAX's own numbers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from jaxnn.parity.diagnosis import between
from jaxnn.parity.diagnosis.evidence import Evidence, Span, number
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Finding, hypothesis, likeliest
from jaxnn.parity.diagnosis.measure import distance, few_examples
from jaxnn.parity.diagnosis.reference import functions
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError
from jaxnn.parity.diagnosis.reference.gradients import function_gradient, layer_gradient, tied
from jaxnn.parity.recording import Layer, Recording

_POOL_FIX = (
    "use nnx.max_pool or lax.reduce_window, whose gradient goes to the first of equal maxima as PyTorch's does; "
    "a reshape with max, or jnp.maximum, splits it"
)
_RELU_FIX = "use jax.nn.relu, whose gradient at 0 is 0 as PyTorch's; jnp.maximum(x, 0) has 0.5 there"
_TIES = {"split": "split between equal maxima", "last": "goes to the last", "all": "goes to every one of them"}


def of_gradients(evidence: Evidence) -> Finding | None:
    """The last place, as the backward pass meets it first, where JAX's gradient follows from a known other choice."""
    for index in reversed(range(len(evidence.left.layers))):
        layer = evidence.left.layers[index]
        if not evidence.in_both(layer):
            continue
        found = _through(evidence, index, layer)
        if found is not None:
            return found
    return None


def _through(evidence: Evidence, index: int, layer: Layer) -> Finding | None:
    """The gradient from the output of ``layer`` to the output of the layer before it."""
    span = between.span_before(evidence, index)
    before = _before(evidence, index)
    left = _carried(evidence, evidence.left, span, layer, before)
    right = _carried(evidence, evidence.right, span, layer, before)
    if left is None or right is None:
        return None
    (theirs, own, _), (ours, observed, choices) = left, right
    rounding = 1e-7 if evidence.left.precision == "float64" else 1e-3
    if distance(theirs({}), own) > rounding:  # the recording does not say how the gradient went
        return None
    reference = ours({})
    if distance(reference, observed) <= rounding:
        return None
    return likeliest(f"gradient for {before or 'the inputs'}", choices, reference, observed)


def _before(evidence: Evidence, index: int) -> str:
    layers = evidence.left.layers[:index]
    return next((layer.name for layer in reversed(layers) if evidence.in_both(layer)), "")


Choices = dict[int, dict[str, object]]
Carried = tuple[Callable[[Choices], np.ndarray], np.ndarray, Catalogue]


def _carried(evidence: Evidence, recording: Recording, span: Span | None, layer: Layer, before: str) -> Carried | None:
    """Of one side: its gradient as a function of the choices made at each function, its own, and other choices."""
    arrays = recording.arrays
    start = number(arrays, f"forward/{before}/output" if before else "inputs")
    entered, given = number(arrays, f"forward/{layer.name}/input"), number(arrays, f"backward/{layer.name}")
    own = number(arrays, f"backward/{before}" if before else "gradient/inputs")
    if span is None or start is None or entered is None or given is None or own is None or own.shape != start.shape:
        return None
    ops, masks = span.ops, span.masks
    op = functions.as_op(layer)
    if op is not None:
        ops, masks = (*ops, op), (*masks, evidence.mask(op))
    keep = (lambda x: x) if layer.kind.startswith("BatchNorm") else few_examples(own, start, entered, given)
    start, entered, given, own = (keep(x) for x in (start, entered, given, own))
    masks = tuple(None if mask is None else keep(mask) for mask in masks)
    try:
        values = [start]
        for function, mask in zip(ops, masks, strict=True):
            values.append(functions.apply(function, values[-1], mask))
        if op is None:
            given = layer_gradient(layer, evidence.weights(layer), entered, given, train=evidence.left.train)
    except (NotSimulatedError, ValueError):
        return None
    reached = values[-1] if op is None else values[-2]
    if reached.size != entered.size or distance(reached.reshape(entered.shape), entered) > 1e-4:
        return None
    gradient = given.reshape(values[-1].shape)

    def carry(choices: Choices) -> np.ndarray:
        back = gradient
        for i in reversed(range(len(ops))):
            chosen: dict[str, object] = choices.get(i, {})
            back = function_gradient(ops[i], values[i], back.reshape(values[i + 1].shape), mask=masks[i], **chosen)  # pyright: ignore[reportArgumentType]
        return back.reshape(start.shape)

    try:
        carry({})
    except (NotSimulatedError, ValueError):
        return None
    return carry, own, _choices(replace(span, ops=ops), values, carry, own)


def _choices(
    span: Span, values: list[np.ndarray], carry: Callable[[Choices], np.ndarray], own: np.ndarray
) -> Catalogue:
    for i, op in enumerate(span.ops):
        if op.name.startswith("max_pool"):
            share = tied(op, values[i]).mean()
            where = f"{share:.2%} of the pool's inputs share a maximum"
            for ties, how in _TIES.items():
                says = f"{where}, and the gradient {how}"
                yield hypothesis("pool-ties", says, _POOL_FIX, lambda i=i, ties=ties: carry({i: {"ties": ties}}))
            yield from _only_at_ties(i, op, values, carry, own, where)
        if op.name == "relu":
            zeros = int((values[i] == 0).sum())
            for slope in (0.5, 1.0):
                says = f"relu has a slope of {slope} at 0 ({zeros} inputs are 0)"
                yield hypothesis("activation", says, _RELU_FIX, lambda i=i, s=slope: carry({i: {"at_zero": s}}))


def _only_at_ties(
    i: int, op: object, values: list[np.ndarray], carry: Callable[[Choices], np.ndarray], own: np.ndarray, where: str
) -> Catalogue:
    """Shared in some other way: only inputs that share a maximum differ, and in sum they do not."""
    if i != 0:
        return  # what stands before the pool would hide which inputs those are
    at_ties, plain = tied(op, values[0]), carry({})  # pyright: ignore[reportArgumentType]
    axes = tuple(range(1, plain.ndim))
    sums = distance(np.where(at_ties, own, 0).sum(axes), np.where(at_ties, plain, 0).sum(axes))
    if at_ties.any() and sums < 1e-6 and at_ties.mean() < 0.9:
        says = f"{where}, and only there do gradients differ, with the same sum"
        yield hypothesis("pool-ties", says, _POOL_FIX, lambda: np.where(at_ties, own, plain))
