"""Parameters of NNX models by PyTorch's names and in its layout, and back."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from flax import traverse_util

from jaxnn.interop.layout import Layout, convolution, dense

from .prepared import Arrays


def to_torch(params: Any, flattened: tuple[int, int, int] | None = None) -> Arrays:
    """A nested dict of NNX parameters as state_dict has them.

    ``flattened``: the (channels, height, width) that the first fully connected layer behind convolutions gets
    flattened channels last; None where the model flattens as PyTorch does.
    """
    flat = traverse_util.flatten_dict(params)
    rules = _rules(flat, flattened)
    return {_name(path): np.asarray(rules[path].to_torch(np.asarray(value))) for path, value in flat.items()}


def to_nnx(arrays: Arrays, params: Any, flattened: tuple[int, int, int] | None = None) -> Any:
    """Undoes ``to_torch``: a tree like ``params`` with the values of ``arrays``."""
    flat = traverse_util.flatten_dict(params)
    rules = _rules(flat, flattened)
    return traverse_util.unflatten_dict({path: rules[path].to_nnx(arrays[_name(path)]) for path in flat})


def _rules(flat: dict[Any, Any], flattened: tuple[int, int, int] | None) -> dict[Any, Layout]:
    kernels = {path: np.shape(value) for path, value in flat.items() if path[-1] == "kernel"}
    features = None if flattened is None else int(np.prod(flattened))
    joins = [path for path, shape in kernels.items() if len(shape) == 2 and shape[0] == features]
    rules: dict[Any, Layout] = dict.fromkeys(flat, Layout())
    for path, shape in kernels.items():
        rules[path] = convolution(2) if len(shape) == 4 else dense(flattened if path in joins[:1] else None)
    return rules


def _name(path: Iterable[Any]) -> str:
    *layer, leaf = (str(part) for part in path if part != "layers")
    return ".".join((*layer, {"kernel": "weight", "scale": "weight"}.get(leaf, leaf)))
