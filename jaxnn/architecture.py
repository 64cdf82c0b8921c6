"""A model as PyTorch's ``print(net)`` shows it: its layers with PyTorch's names and options, nested."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxnn.nn import AdaptiveAvgPool2d, AvgPool2d, BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d

_FUNCTIONS = {jax.nn.relu: "ReLU", jax.nn.sigmoid: "Sigmoid", jax.nn.tanh: "Tanh", jnp.tanh: "Tanh"}
_CONTAINERS = {nnx.Sequential: "Sequential", nnx.List: "ModuleList"}


def printed(model: nnx.Module) -> str:
    """Of a model as built, since ``nnx.merge`` loses the order of its layers.

    Layers that the class of a model lists in ``functional`` are left out: PyTorch's class calls functions in their
    place. An activation has no ``inplace=True``, which means nothing here.
    """
    return "\n".join(_lines(model))


def kind(layer: Any) -> str:
    """What PyTorch calls the class of a layer."""
    return _FUNCTIONS[layer] if _is_function(layer) else _CONTAINERS.get(type(layer), type(layer).__name__)


def _lines(module: Any) -> list[str]:
    name = kind(module)
    inner = [line for key, child in _children(module) for line in _labelled(key, _lines(child))]
    if inner:
        return [f"{name}(", *(f"  {line}" for line in inner), ")"]
    options = next((describe(module) for of, describe in _OPTIONS.items() if isinstance(module, of)), [])
    return [f"{name}({', '.join(options)})"]


def _labelled(key: str, lines: list[str]) -> list[str]:
    return [f"({key}): {lines[0]}", *lines[1:]]


def _children(module: Any) -> Iterator[tuple[str, Any]]:
    """What torch's named_children() gives."""
    if isinstance(module, nnx.Sequential | nnx.List):
        items = module.layers if isinstance(module, nnx.Sequential) else module
        yield from ((str(number), item) for number, item in enumerate(items))
    elif isinstance(module, nnx.Module):
        hidden = getattr(module, "functional", ())
        for name, value in vars(module).items():
            if name not in hidden and (isinstance(value, nnx.Module) or _is_function(value)):
                yield name, value


def _is_function(value: Any) -> bool:
    return any(value is function for function in _FUNCTIONS)  # a layer's variables have no hash


def _linear(layer: Linear) -> list[str]:
    return [
        f"in_features={layer.in_features}",
        f"out_features={layer.out_features}",
        f"bias={layer.bias is not None}",
    ]


def _conv(layer: Conv2d) -> list[str]:
    height, width, in_of_group, out = layer.kernel.shape
    (top, bottom), (left, right) = layer.padding
    padding = (top, left) if (top, left) == (bottom, right) else "same"
    changed = {
        "padding": (padding, (0, 0)),
        "dilation": (layer.dilation, (1, 1)),
        "groups": (layer.groups, 1),
        "bias": (layer.bias is not None, True),
        "padding_mode": (layer.padding_mode, "zeros"),
    }
    return [
        f"{in_of_group * layer.groups}, {out}",
        f"kernel_size={(height, width)}",
        f"stride={layer.stride}",
        *(f"{name}={value}" for name, (value, default) in changed.items() if value != default),
    ]


def _batch_norm(layer: BatchNorm1d | BatchNorm2d) -> list[str]:
    return [
        str(layer.num_features),
        f"eps={layer.eps}",
        f"momentum={layer.momentum}",
        f"affine={layer.scale is not None}",
        f"bias={layer.bias is not None}",
        f"track_running_stats={layer.track_running_stats}",
    ]


def _max_pool(layer: MaxPool2d) -> list[str]:
    sizes = {name: _short(getattr(layer, name)) for name in ("kernel_size", "stride", "padding", "dilation")}
    return [*(f"{name}={size}" for name, size in sizes.items()), f"ceil_mode={layer.ceil_mode}"]


def _avg_pool(layer: AvgPool2d) -> list[str]:
    return [f"{name}={_short(getattr(layer, name))}" for name in ("kernel_size", "stride", "padding")]


def _short(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair


_OPTIONS: dict[Any, Callable[[Any], list[str]]] = {
    Linear: _linear,
    Conv2d: _conv,
    BatchNorm1d: _batch_norm,
    BatchNorm2d: _batch_norm,
    MaxPool2d: _max_pool,
    AvgPool2d: _avg_pool,
    AdaptiveAvgPool2d: lambda layer: [f"output_size={layer.output_size}"],
    Dropout: lambda layer: [f"p={layer.rate}", "inplace=False"],
    Flatten: lambda layer: ["start_dim=1", "end_dim=-1"],
}
