"""A jaxnn model's parameters and buffers under PyTorch's names and in PyTorch's layout, for the tests."""

from typing import Any

import numpy as np
from flax import nnx

from jaxnn.nn import BatchNorm1d, BatchNorm2d, Conv2d, Linear

_NORM_NAMES = {
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "num_batches_tracked": "num_batches_tracked",
}


def state_dict(model: nnx.Module) -> dict[str, np.ndarray]:
    """What ``state_dict()`` of the model's PyTorch twin holds."""
    found: dict[str, np.ndarray] = {}
    for path, module in nnx.iter_modules(model):
        prefix = ".".join(str(name) for name in path if name != "layers")
        found |= {f"{prefix}.{name}".lstrip("."): value for name, value in _of_layer(module).items()}
    return found


def in_torch_layout(module: nnx.Module, name: str, value: Any) -> tuple[str, np.ndarray]:
    """An attribute of a layer (or its gradient), under torch's name and axes."""
    array = np.asarray(value)
    if isinstance(module, Linear) and name == "kernel":
        return "weight", array.T
    if isinstance(module, Conv2d) and name == "kernel":
        return "weight", array.transpose(3, 2, 0, 1)
    if isinstance(module, BatchNorm1d | BatchNorm2d):
        return _NORM_NAMES[name], array
    return name, array


def _of_layer(module: nnx.Module) -> dict[str, np.ndarray]:
    if not isinstance(module, Linear | Conv2d | BatchNorm1d | BatchNorm2d):
        return {}
    variables = {name: value for name, value in vars(module).items() if isinstance(value, nnx.Variable)}
    return dict(in_torch_layout(module, name, variable[...]) for name, variable in variables.items())
