"""What a model consists of, under PyTorch's names and in its layouts: layers, outputs, tensors. Nothing is computed."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from jaxnn import architecture, models
from jaxnn.interop.image_layout import shape_in
from jaxnn.interop.state_dict import Rules, rules
from jaxnn.nn import Dropout, DropoutMask
from jaxnn.nn.interception import intercepted, layers_of, mark
from jaxnn.trained import Description

Shape = tuple[int, ...]


class Tensor(NamedTuple):
    """An entry of state_dict(). ``dtype``: as PyTorch has it, in the recipe's precision."""

    name: str
    shape: Shape
    dtype: np.dtype
    is_buffer: bool
    trained: bool

    @property
    def values(self) -> int:
        return math.prod(self.shape)


class Call(NamedTuple):
    """A layer and the shape of one example of its output; those with several calls come several times."""

    layer: str
    kind: str
    output: Shape


@dataclass(frozen=True)
class Summary:
    """``printed``: what print(net) shows. ``input``: the shape of an example. ``calls``: in their order."""

    printed: str
    input: Shape
    calls: tuple[Call, ...]
    tensors: tuple[Tensor, ...]

    @property
    def parameters(self) -> int:
        return sum(tensor.values for tensor in self.tensors if not tensor.is_buffer)

    @property
    def trained(self) -> int:
        return sum(tensor.values for tensor in self.tensors if tensor.trained)

    @property
    def buffers(self) -> int:
        return sum(tensor.values for tensor in self.tensors if tensor.is_buffer)

    @property
    def bytes(self) -> int:
        """Of all values in state_dict()."""
        return sum(tensor.values * tensor.dtype.itemsize for tensor in self.tensors)


def summarize(of: Description, param_dtype: jnp.dtype | type) -> Summary:
    """Of the model of ``of`` with weights of ``param_dtype``. Raises UserError if it cannot take such inputs."""
    found: dict[str, Any] = {}

    def build(x: jax.Array) -> dict[str, jax.Array]:
        model = models.build(
            of.recipe.model, input_shape=of.input_shape, outputs=of.outputs, rngs=nnx.Rngs(0), param_dtype=param_dtype
        )
        table = rules(model)
        found.update(printed=architecture.printed(model), rules=table, calls=_calls(model, x))
        _, params, _, buffers = nnx.split(model, nnx.Param, DropoutMask, ...)
        flat = {
            path: leaf
            for tree in (params, buffers)
            for path, leaf in traverse_util.flatten_dict(nnx.to_pure_dict(tree)).items()
        }
        return {key: leaf.layout.to_torch(flat[leaf.path]) for key, leaf in table.items()}

    tensors = jax.eval_shape(build, jax.ShapeDtypeStruct((2, *of.input_shape), param_dtype))
    return Summary(
        found["printed"],
        shape_in(of.input_shape, "nchw"),
        found["calls"],
        _tensors(found["rules"], tensors, of.recipe.trained_layer),
    )


def _calls(model: nnx.Module, x: jax.Array) -> tuple[Call, ...]:
    """Those of a forward pass in evaluation mode, in which dropout needs no masks."""
    calls: list[Call] = []
    layers = layers_of(model)
    mark(model)
    model.eval()

    def call(path: Any, number: int, layer: Any, x: jax.Array) -> jax.Array:
        y, called = layer(x), layers[path]
        if not (isinstance(called, Dropout) and called.rate == 0):  # which is as good as none
            calls.append(Call(_torch_name(path), architecture.kind(called), shape_in(y.shape[1:], "nchw")))
        return y

    with intercepted(model, call):
        model(x)  # pyright: ignore[reportCallIssue]
    return tuple(calls)


def _tensors(rules: Rules, found: dict[str, Any], trained_layer: str | None) -> tuple[Tensor, ...]:
    """In PyTorch's order, which ``found`` has lost on its way through JAX."""
    tensors = []
    for key, leaf in rules.items():
        dtype = np.dtype(found[key].dtype)
        trained = leaf.trained and (trained_layer is None or key.startswith(f"{trained_layer}."))
        kept = np.dtype(np.int64) if dtype == np.int32 else dtype
        tensors.append(Tensor(key, found[key].shape, kept, not leaf.trained, trained))
    return tuple(tensors)


def _torch_name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path if part != "layers")  # a Sequential's own level
