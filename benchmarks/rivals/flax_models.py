"""The networks as a JAX user writes them: stock flax.nnx layers, images channels last and flattened so."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxnn import recipe
from jaxnn.errors import UserError

_UNDRAWN = jax.nn.initializers.zeros  # the weights are PyTorch's


class FullyConnected(nnx.Module):
    """Linear layers of ``names`` with an activation behind each; ``normalize``: a BatchNorm of the image first."""

    def __init__(
        self,
        names: tuple[str, ...],
        widths: tuple[int, ...],
        activations: tuple[Any, ...],
        *,
        bias: bool = True,
        normalize: nnx.BatchNorm | None = None,
        **types: Any,
    ) -> None:
        self.normalize = normalize
        self.names, self.activations = names, activations
        for name, (fan_in, fan_out) in zip(names, itertools.pairwise(widths), strict=True):
            setattr(self, name, nnx.Linear(fan_in, fan_out, use_bias=bias, kernel_init=_UNDRAWN, **types))

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.normalize is not None:
            x = self.normalize(x)
        x = x.reshape(x.shape[0], -1)
        for name, activation in zip(self.names, self.activations, strict=True):
            x = activation(getattr(self, name)(x))
        return x


class ReluStack(nnx.Module):
    def __init__(self, widths: tuple[int, ...], **types: Any) -> None:
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nnx.Linear(fan_in, fan_out, kernel_init=_UNDRAWN, **types), nnx.relu]
        self.linear_relu_stack = nnx.Sequential(*layers)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.linear_relu_stack(x.reshape(x.shape[0], -1))


class LeNet(nnx.Module):
    def __init__(self, spec: recipe.LeNet, input_shape: tuple[int, ...], outputs: int, **types: Any) -> None:
        size = (spec.kernel_size, spec.kernel_size)
        types |= {"kernel_init": _UNDRAWN}
        self.conv1 = nnx.Conv(input_shape[-1], spec.channels[0], size, padding="VALID", **types)
        self.conv2 = nnx.Conv(*spec.channels, size, padding="VALID", **types)
        self.fc1 = nnx.Linear(spec.flat_features(input_shape), spec.hidden[0], **types)
        self.fc2 = nnx.Linear(*spec.hidden, **types)
        self.fc3 = nnx.Linear(spec.hidden[1], outputs, **types)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv1(x)), window_shape=(2, 2), strides=(2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), window_shape=(2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        return self.fc3(nnx.relu(self.fc2(nnx.relu(self.fc1(x)))))


def build(spec: recipe.Model, input_shape: tuple[int, ...], outputs: int, *, param: Any, compute: Any) -> nnx.Module:
    """The network of ``spec`` with all weights zero; ``param`` and ``compute``: dtypes."""
    types: dict[str, Any] = {"param_dtype": param, "dtype": compute, "rngs": nnx.Rngs(0)}
    features = math.prod(input_shape)
    match spec:
        case recipe.LeNet():
            return LeNet(spec, input_shape, outputs, **types)
        case recipe.ReluStack():
            return ReluStack((features, *spec.hidden, outputs), **types)
        case recipe.TabularMLP():
            names, activations = ("linear1", "linear2", "output"), (nnx.relu, nnx.sigmoid, lambda x: x)
            return FullyConnected(names, (features, *spec.hidden, outputs), activations, **types)
        case recipe.MnistMLP():
            names = tuple(f"fc{number}" for number in range(1, len(spec.hidden) + 2))
            activations = (*[nnx.relu] * len(spec.hidden), _log_softmax)
            return FullyConnected(names, (features, *spec.hidden, outputs), activations, **types)
        case recipe.FashionMLP():
            names, widths = ("linear1", "output"), (features, spec.hidden, outputs)
            norm = nnx.BatchNorm(input_shape[-1], momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0))
            own: dict[str, Any] = {"bias": False, "normalize": norm if spec.batch_norm else None}
            return FullyConnected(names, widths, (nnx.relu, _log_softmax), **own, **types)
        case recipe.ResNet() | recipe.VGG():
            raise UserError(f"the plain flax loop has no {spec.kind}; leave it out with --rivals")


def _log_softmax(x: jax.Array) -> jax.Array:
    return nnx.log_softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
