"""Gradients of functions and layers for their inputs, with what a port may choose at kinks and ties."""

from typing import Literal

import numpy as np

from jaxnn.parity.diagnosis.reference import functions
from jaxnn.parity.diagnosis.reference.activations import ACTIVATIONS, options_of
from jaxnn.parity.diagnosis.reference.convolution import as_tuple, convolution_gradient, torch_padding
from jaxnn.parity.diagnosis.reference.functions import NotSimulatedError, is_dropout, is_flatten, is_pool
from jaxnn.parity.diagnosis.reference.normalization import normalization_gradient, statistics
from jaxnn.parity.diagnosis.reference.pooling import gathered, pool_of, scattered
from jaxnn.parity.recording import Arrays, Layer, Op

Ties = Literal["first", "last", "split", "all"]
_STEP = 1e-5  # of the central difference for smooth activations: an error of 1e-10


def function_gradient(
    op: Op,
    x: np.ndarray,
    gradient: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    ties: Ties = "first",
    at_zero: float = 0.0,
) -> np.ndarray:
    """For ``x``, the input of ``op``. ``ties``: who of equal maxima gets it; ``at_zero``: relu's slope there.

    Raises NotSimulatedError.
    """
    if op.name == "relu":
        return gradient * np.where(x == 0, at_zero, x > 0)
    if op.name in ("softmax", "log_softmax"):
        return _softmax_gradient(op, x, gradient)
    if op.name in ACTIVATIONS:
        activation, options = ACTIVATIONS[op.name], options_of(op.name, op.options)
        slope = (activation(x + _STEP, **options) - activation(x - _STEP, **options)) / (2 * _STEP)
        return gradient * slope
    if is_pool(op):
        return _pool_gradient(op, x, gradient, ties)
    if is_dropout(op):
        return gradient if mask is None else gradient * (mask / (1 - op.options.get("p", 0.5)))
    if is_flatten(op) or op.name in ("squeeze", "unsqueeze"):
        return gradient.reshape(x.shape)
    raise NotSimulatedError(op.name)


def tied(op: Op, x: np.ndarray) -> np.ndarray:
    """Which elements of ``x`` share the maximum of a window of a max-pool with another."""
    p = pool_of(op.name, op.options, x.shape[2:])
    windows = gathered(x, p, fill=p.fill)
    highest = windows == windows.max(axis=0)
    return scattered(highest * (highest.sum(axis=0) > 1), p, x.shape) > 0


def _pool_gradient(op: Op, x: np.ndarray, gradient: np.ndarray, ties: Ties) -> np.ndarray:
    p = pool_of(op.name, op.options, x.shape[2:])
    if p.average:
        if p.divisor is None and any(p.before):
            raise NotSimulatedError(op.name)
        size = p.divisor or int(np.prod(p.kernel))
        return scattered(np.broadcast_to(gradient / size, (int(np.prod(p.kernel)), *gradient.shape)), p, x.shape)
    windows = gathered(x, p, fill=p.fill)
    highest = windows == windows.max(axis=0)
    order = np.cumsum(highest, axis=0)
    shares = {
        "first": highest & (order == 1),
        "last": highest & (order == order[-1]),
        "split": highest / highest.sum(axis=0),
        "all": highest,
    }[ties]
    return scattered(shares * gradient, p, x.shape)


def _softmax_gradient(op: Op, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    dim = op.options.get("dim")
    axis = -1 if dim is None else dim
    probs = ACTIVATIONS["softmax"](x, dim=axis)
    if op.name == "log_softmax":
        return gradient - probs * gradient.sum(axis=axis, keepdims=True)
    return probs * (gradient - (gradient * probs).sum(axis=axis, keepdims=True))


def layer_gradient(
    layer: Layer, weights: Arrays, x: np.ndarray, gradient: np.ndarray, *, train: bool, mask: np.ndarray | None = None
) -> np.ndarray:
    """For ``x``, the input of a layer; ``weights`` are its own, by their short names. Raises NotSimulatedError."""
    if layer.kind == "Linear":
        return gradient @ weights["weight"]
    if layer.kind.startswith("Conv") and layer.options.get("padding_mode", "zeros") == "zeros":
        kernel = weights["weight"].shape[2:]
        stride, dilation = (as_tuple(layer.options.get(key, 1), len(kernel)) for key in ("stride", "dilation"))
        span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        return convolution_gradient(
            gradient,
            weights["weight"],
            x.shape[2:],
            stride=stride,
            dilation=dilation,
            groups=layer.options.get("groups", 1),
            before=torch_padding(layer.options.get("padding", 0), span),
        )
    if layer.kind.startswith("BatchNorm"):
        eps = layer.options.get("eps", 1e-5)
        batch = train or "running_mean" not in weights
        seen = statistics(x)
        mean, var = (seen.mean, seen.var) if batch else (weights["running_mean"], weights["running_var"])
        scale = weights.get("weight", np.ones_like(mean))
        return normalization_gradient(x, gradient, scale, mean, np.sqrt(var + eps), batch=batch)
    op = functions.as_op(layer)
    if op is None:
        raise NotSimulatedError(layer.kind)
    return function_gradient(op, x, gradient, mask=mask)
