"""A jaxnn model under PyTorch's names and in PyTorch's layout: what state_dict() of its PyTorch twin holds.

The table of a model follows from its layers: attributes are called as in PyTorch, and a layer says how its own leaves
are called and lie there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import nnx, traverse_util

from jaxnn.interop.layout import Layout, convolution, dense
from jaxnn.nn import BatchNorm1d, BatchNorm2d, Conv2d, Linear
from jaxnn.nn.dropout import DropoutMask

Path = tuple[str | int, ...]
Pytree = Any

_NORM = {"scale": "weight", "mean": "running_mean", "var": "running_var"}
_KERNEL = {"kernel": "weight"}
_NAMES = {Linear: _KERNEL, Conv2d: _KERNEL, BatchNorm1d: _NORM, BatchNorm2d: _NORM}
_LAYOUTS = {Linear: {"kernel": dense()}, Conv2d: {"kernel": convolution(2)}}


class Leaf(NamedTuple):
    """Where a tensor of PyTorch is in a jaxnn model: path, layout, and whether it is trained (not a buffer)."""

    path: Path
    layout: Layout
    trained: bool


Rules = dict[str, Leaf]
"""The leaf of each key of state_dict(), in PyTorch's order. Made of a model as built: ``nnx.merge`` loses the order."""


def rules(model: nnx.Module) -> Rules:
    """Of a model that consists of jaxnn.nn's layers."""
    found: Rules = {}
    for path, layer in _layers(model, ()):
        kind = _kind(layer)
        names, layouts = _NAMES[kind], _LAYOUTS.get(kind, {})
        prefix = "".join(f"{name}." for name in path if name != "layers")  # a Sequential's; PyTorch's has none
        for name, value in vars(layer).items():
            if isinstance(value, nnx.Variable) and not isinstance(value, DropoutMask):
                leaf = Leaf((*path, name), layouts.get(name, Layout()), isinstance(value, nnx.Param))
                found[prefix + names.get(name, name)] = leaf
    return found


def state_dict(model: nnx.Module) -> dict[str, np.ndarray]:
    """A model as built, as PyTorch has it."""
    _, params, _, buffers = nnx.split(model, nnx.Param, DropoutMask, ...)
    return to_torch(rules(model), nnx.to_pure_dict(params), nnx.to_pure_dict(buffers))


def to_torch(rules: Rules, *trees: Pytree) -> dict[str, np.ndarray]:
    """Those leaves of nested dicts that have a rule, as NumPy arrays by their keys in PyTorch.

    Of trees like the parameters that hold a number for each (NAdam's product of momenta), the numbers as they are.
    """
    flat = {path: leaf for tree in trees for path, leaf in traverse_util.flatten_dict(tree).items()}
    found = {key: (np.asarray(flat[leaf.path]), leaf.layout) for key, leaf in rules.items() if leaf.path in flat}
    arrays = {key: layout.to_torch(value) if value.ndim else value for key, (value, layout) in found.items()}
    counts = {key: value.astype(np.int64) for key, value in arrays.items() if value.dtype == np.int32}
    return {key: np.ascontiguousarray(value) if value.ndim else value for key, value in (arrays | counts).items()}


def to_nnx(rules: Rules, arrays: Mapping[str, np.ndarray], like: Pytree) -> Pytree:
    """``like``, nested dicts, with its leaves taken from PyTorch's ``arrays``, in the dtypes of ``like``."""
    flat = traverse_util.flatten_dict(like)
    keys = {leaf.path: key for key, leaf in rules.items()}

    def taken(path: Any, old: Any) -> np.ndarray:
        value = arrays[keys[path]]
        return np.asarray(rules[keys[path]].layout.to_nnx(value) if value.ndim else value, old.dtype)

    return traverse_util.unflatten_dict({path: taken(path, old) for path, old in flat.items()})


def _layers(module: Any, path: Path) -> Iterator[tuple[Path, nnx.Module]]:
    """The layers with a rule, in the order in which they were assigned, as in torch's modules()."""
    if _kind(module) is not None:
        yield path, module
    elif isinstance(module, nnx.List):
        for number, child in enumerate(module):
            yield from _layers(child, (*path, number))
    elif isinstance(module, nnx.Module):
        for name, child in vars(module).items():
            yield from _layers(child, (*path, name))


def _kind(module: Any) -> Any:
    """The class in ``_NAMES`` that a module is of; None if it is none of them."""
    return next((kind for kind in type(module).__mro__ if kind in _NAMES), None)
