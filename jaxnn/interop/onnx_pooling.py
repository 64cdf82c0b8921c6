"""Pooling for jax2onnx, whose own windows span batch and channels: four dimensions, which ONNX Runtime cannot pool."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax import lax

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@contextlib.contextmanager
def lowered() -> Iterator[None]:
    """Inside, jax2onnx turns the windows of max and average pooling on (N, H, W, C) into MaxPool and AveragePool."""
    from jax2onnx.plugins import plugin_system

    plugin_system.import_all_plugins()
    registry: dict[str, Any] = plugin_system.PLUGIN_REGISTRY
    own = {lax.reduce_window_max_p.name: _max_pool, lax.reduce_window_sum_p.name: _window_sums}
    before = {name: registry[name] for name in own}
    for name, lower in own.items():
        registry[name] = _plugin(before[name], lower)
    try:
        yield
    finally:
        registry.update(before)


def _plugin(original: Any, lower: Any) -> Any:
    """The plugin ``original``, with windows over height and width alone lowered by ``lower``."""

    class Pooling(type(original)):
        def lower(self, ctx: Any, eqn: Any) -> None:
            window = eqn.params["window_dimensions"]
            if len(window) != 4 or (window[0], window[3]) != (1, 1):
                return super().lower(ctx, eqn)
            x = ctx.builder.Transpose(ctx.get_value_for_var(eqn.invars[0]), perm=_TO_CHANNELS_FIRST)
            y = ctx.builder.Transpose(lower(ctx.builder, x, eqn.params), perm=_TO_CHANNELS_LAST)
            y.type = ctx.get_value_for_var(eqn.outvars[0]).type
            ctx.bind_value_for_var(eqn.outvars[0], y)

    plugin = Pooling.__new__(Pooling)
    plugin.__dict__.update(vars(original))
    return plugin


def _max_pool(builder: Any, x: Any, params: dict[str, Any]) -> Any:
    return builder.MaxPool(x, **_geometry(params), dilations=params["window_dilation"][1:3])


def _window_sums(builder: Any, x: Any, params: dict[str, Any]) -> Any:
    means = builder.AveragePool(x, **_geometry(params), count_include_pad=1)
    size = np.float32(math.prod(params["window_dimensions"]))
    return builder.Mul(means, builder.add_initializer_from_scalar(f"window_of_{means.name}", size))


def _geometry(params: dict[str, Any]) -> dict[str, Any]:
    (top, bottom), (left, right) = params["padding"][1:3]
    return {
        "kernel_shape": params["window_dimensions"][1:3],
        "strides": params["window_strides"][1:3],
        "pads": (top, left, bottom, right),
    }
