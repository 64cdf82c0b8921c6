"""Weights as a port may misread them."""

import itertools
from collections.abc import Iterator

import numpy as np

from jaxnn.parity.diagnosis.flattening import regroupings
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, Hypothesis

_FIX = (
    "flax's kernel is (in, out) for a linear layer and (*window, in, out) for a convolution: transpose PyTorch's "
    "weight with w.T or w.transpose(2, 3, 1, 0), and never reshape it"
)
_FLATTEN_FIX = "flatten images as (channel, height, width), or permute the kernel's rows once, at import"
_AXES = ("out", "in", "height", "width", "depth")


def misread(weight: np.ndarray, features: np.ndarray | slice = slice(None)) -> Iterator[tuple[Claim, np.ndarray]]:
    """(out, in, ...), of the output ``features`` alone, in other layouts: the plainer mistakes first, none twice."""
    seen = [weight[features]]
    for says, whole in _readings(weight):
        other = whole[features]  # a whole weight may be large, and is a view
        if not any(np.array_equal(other, known) for known in seen):
            seen.append(other)
            yield Claim(cause="weight-layout", says=says, fix=_FIX), other
    if weight.ndim == 2:
        for order, rows in regroupings(weight.shape[1]):
            says = f"the rows of the kernel in another order of (channel, position): {order}"
            yield Claim(cause="flatten-order", says=says, fix=_FLATTEN_FIX), seen[0][:, rows]


def stored(weight: np.ndarray) -> Catalogue:
    """The weight itself, where it arrived in another layout."""
    for claim, other in misread(weight):
        yield Hypothesis(claims=(claim,), predict=lambda other=other: other)


def _readings(weight: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    shape, spatial = weight.shape, range(2, weight.ndim)
    orders = [order for order in itertools.permutations(range(weight.ndim)) if order != tuple(range(weight.ndim))]
    transposes = [order for order in orders if tuple(shape[axis] for axis in order) == shape]
    for count in range(len(spatial), 0, -1):
        for axes in itertools.combinations(spatial, count):
            yield f"the window flipped along {' and '.join(_AXES[axis] for axis in axes)}", np.flip(weight, axes)
    for order in transposes:
        yield f"the weight's axes read as {_said(order)}", weight.transpose(order)
    for order in orders:
        # The buffer reshaped to flax's shape without a transpose.
        read = weight.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
        yield f"the weight reshaped to {_said(order)} without being transposed", read
    for order in transposes:
        flipped = np.flip(weight.transpose(order), tuple(spatial))
        yield f"the weight's axes read as {_said(order)} and the window flipped", flipped


def _said(order: tuple[int, ...]) -> str:
    return f"({', '.join(_AXES[axis] for axis in order)})"
