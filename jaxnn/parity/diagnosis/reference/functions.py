"""The functions that a network calls between its layers, as recorded: activations, pools, flattening, dropout."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxnn.parity.diagnosis.reference import activations
from jaxnn.parity.diagnosis.reference.convolution import pad
from jaxnn.parity.diagnosis.reference.pooling import adaptive_average, pool, pool_of
from jaxnn.parity.recording import Layer, Op


class NotSimulatedError(NotImplementedError):
    """The recording does not say enough about a function, or it is none of those known here."""


_MODULES: Mapping[str, str] = {
    **activations.MODULES,
    **{f"{kind}Pool{n}d": f"{name}_pool{n}d" for n in (1, 2, 3) for kind, name in (("Max", "max"), ("Avg", "avg"))},
    **{f"AdaptiveAvgPool{n}d": f"adaptive_avg_pool{n}d" for n in (1, 2, 3)},
    "Flatten": "flatten",
    **dict.fromkeys(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"), "dropout"),
}


def as_op(layer: Layer) -> Op | None:
    """A layer without parameters as the function that it calls; None for any other."""
    name = _MODULES.get(layer.kind)
    defaults = {"start_dim": 1} if name == "flatten" else {}  # the function's is 0
    return None if name is None else Op(name=name, options=defaults | layer.options)


def is_pool(op: Op) -> bool:
    return op.name.startswith(("max_pool", "avg_pool"))


def is_dropout(op: Op) -> bool:
    return "dropout" in op.name


def is_flatten(op: Op) -> bool:
    return op.name in ("flatten", "reshape", "view")


def apply(op: Op, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """PyTorch's result; ``mask`` is what a dropout kept (None: it drops nothing). Raises NotSimulatedError."""
    if op.name in activations.ACTIVATIONS:
        return activations.ACTIVATIONS[op.name](x, **activations.options_of(op.name, op.options))
    if is_pool(op):
        try:
            return pool(x, pool_of(op.name, op.options, x.shape[2:]))
        except (KeyError, ValueError) as error:
            raise NotSimulatedError(op.name) from error
    if is_dropout(op):
        return x if mask is None else x * (mask / (1 - op.options.get("p", 0.5)))
    if op.name.startswith("adaptive_avg_pool"):
        return adaptive_average(x, op.options.get("output_size", 1))
    if is_flatten(op):
        return x.reshape(_shape(op, x))
    if op.name in ("mean", "sum") and op.options.get("dim") is not None:
        dim = op.options["dim"]
        axes = tuple(dim) if isinstance(dim, Sequence) else (dim,)
        return getattr(x, op.name)(axis=axes, keepdims=bool(op.options.get("keepdim", False)))
    if op.name == "pad":
        return _pad(op.options, x)
    if op.name in ("squeeze", "unsqueeze"):
        return x  # of the same numbers in the same order: the next layer's input has the right shape
    raise NotSimulatedError(op.name)


def _shape(op: Op, x: np.ndarray) -> tuple[int, ...]:
    if op.name == "flatten":
        start, end = (op.options.get(key, default) % x.ndim for key, default in (("start_dim", 0), ("end_dim", -1)))
        return (*x.shape[:start], -1, *x.shape[end + 1 :])
    given = op.options.get("shape")
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 1:
        return (len(x), *given[1:])  # x may be a part of the batch
    return (len(x), -1)


def _pad(options: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    widths = options.get("pad", options.get("shape"))
    if not isinstance(widths, Sequence) or options.get("mode", "constant") != "constant":
        raise NotSimulatedError("pad")
    return pad(x, widths[::2][::-1], widths[1::2][::-1], fill=options.get("value") or 0.0)
