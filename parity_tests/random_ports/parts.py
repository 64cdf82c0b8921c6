"""The layers and functions of random networks: each as PyTorch has it, and right in NNX in one of several ways."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx
from jax import Array
from torch import Tensor, nn

from jaxnn import nn as jnn
from jaxnn.parity import Rule
from parity_tests.random_ports.network import Network


def _pytorchs_draw(fan_in: int) -> dict[str, Any]:
    """Flax's options for PyTorch's default initialization."""
    bound = 1 / math.sqrt(fan_in)
    return {
        "kernel_init": jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        "bias_init": lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound),
    }


def linear(net: Network, outputs: int) -> None:
    inputs, bias = net.shape[-1], net.maybe(0.8)
    ours = net.choose(
        [
            lambda rngs: jnn.Linear(inputs, outputs, bias=bias, rngs=rngs),
            lambda rngs: nnx.Linear(inputs, outputs, use_bias=bias, rngs=rngs, **_pytorchs_draw(inputs)),
            lambda rngs: nnx.Linear(inputs, outputs, use_bias=bias, rngs=rngs),
        ]
    )
    name = net.add("fc", lambda: nn.Linear(inputs, outputs, bias=bias), ours)
    if net.image is not None:
        net.rules[name], net.image = Rule(flatten=net.image), None
    net.shape = (*net.shape[:-1], outputs)


def residual(net: Network) -> None:
    """x + linear(x), in a module of its own."""
    features = net.shape[-1]

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(features, features)

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.tanh(self.inner(x))

    class Ours(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.inner = nnx.Linear(features, features, rngs=rngs)

        def __call__(self, x: Array) -> Array:
            return x + jnp.tanh(self.inner(x))

    net.add("residual", Theirs, Ours)


def convolution(net: Network) -> None:
    """Of one or two dimensions; stride, padding, dilation, groups and window at random."""
    channels, *sizes = net.shape
    groups = net.choose([1, 1, channels])
    outputs = groups * net.between(1, 3 if groups > 1 else 6)
    kernel = tuple(net.between(1, 3) for _ in sizes)
    stride = tuple(net.choose([1, 1, 2]) for _ in sizes)
    dilation = tuple(net.choose([1, 1, 2]) for _ in sizes)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(max(net.between(0, 2), math.ceil((span - n) / 2)) for span, n in zip(spans, sizes, strict=True))
    bias = net.maybe(0.8)
    modes = ["zeros", "zeros", "zeros", "reflect", "replicate", "circular"]
    mode: Any = net.choose(modes) if len(sizes) == 2 and min(sizes) > 2 else "zeros"
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def stock(rngs: nnx.Rngs, **initializers: Any) -> nnx.Conv:
        return nnx.Conv(
            channels,
            outputs,
            kernel,
            strides=stride,
            padding=[(p, p) for p in padding],
            kernel_dilation=dilation,
            feature_group_count=groups,
            use_bias=bias,
            rngs=rngs,
            **initializers,
        )

    def own(rngs: nnx.Rngs) -> jnn.Conv2d:
        return jnn.Conv2d(channels, outputs, kernel, bias=bias, padding_mode=mode, rngs=rngs, **options)  # pyright: ignore[reportArgumentType]

    drawn = _pytorchs_draw(channels // groups * math.prod(kernel))
    ways: list[Callable[[nnx.Rngs], nnx.Module]] = [stock, lambda rngs: stock(rngs, **drawn)]
    if len(sizes) == 2:
        ways = [own] if mode != "zeros" else [own, *ways]
    layer = nn.Conv2d if len(sizes) == 2 else nn.Conv1d
    net.add(
        "conv",
        lambda: layer(channels, outputs, kernel, bias=bias, padding_mode=mode, **options),  # pyright: ignore[reportArgumentType]
        net.choose(ways),
    )
    net.shape = (
        outputs,
        *((n + 2 * p - span) // s + 1 for n, p, span, s in zip(sizes, padding, spans, stride, strict=True)),
    )


def batch_norm(net: Network) -> None:
    """jaxnn's; in evaluation, where the variance that Flax tracks is of no account, also Flax's."""
    features, momentum, eps, affine = net.shape[0], net.choose([0.1, 0.3]), net.choose([1e-5, 1e-3]), net.maybe(0.9)
    theirs, own = (nn.BatchNorm2d, jnn.BatchNorm2d) if len(net.shape) == 3 else (nn.BatchNorm1d, jnn.BatchNorm1d)
    ways: list[Callable[[nnx.Rngs], nnx.Module]] = [
        lambda rngs: own(features, momentum=momentum, eps=eps, affine=affine)
    ]
    if not net.train:
        ways.append(
            lambda rngs: nnx.BatchNorm(
                features, momentum=1 - momentum, epsilon=eps, use_bias=affine, use_scale=affine, rngs=rngs
            )
        )
    net.add("bn", lambda: theirs(features, eps=eps, momentum=momentum, affine=affine), net.choose(ways))


def layer_norm(net: Network) -> None:
    features = net.shape[-1]
    net.add("ln", lambda: nn.LayerNorm(features), lambda rngs: nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs))


def group_norm(net: Network) -> None:
    channels = net.shape[0]
    groups = net.choose([divisor for divisor in range(1, channels + 1) if channels % divisor == 0])
    if math.prod(net.shape) == groups:
        return  # one value a group: its variance is 0
    net.add(
        "gn",
        lambda: nn.GroupNorm(groups, channels),
        lambda rngs: nnx.GroupNorm(channels, num_groups=groups, epsilon=1e-5, rngs=rngs),
    )


def embedding(net: Network, tokens: int, features: int) -> None:
    options: dict[str, Any] = net.choose([{}, {"embedding_init": jax.nn.initializers.normal(1.0)}])
    net.add(
        "embedding",
        lambda: nn.Embedding(tokens, features),
        lambda rngs: nnx.Embed(tokens, features, rngs=rngs, **options),
    )
    net.shape, net.features_last = (*net.shape, features), True


def features_to_channels(net: Network) -> None:
    """(batch, length, features) -> (batch, channels, length) in PyTorch, nothing in NNX."""
    net.add("channels", lambda: lambda x, training: x.transpose(1, 2), lambda rngs: lambda x: x)
    net.shape, net.features_last = net.shape[::-1], False


ACTIVATIONS: list[tuple[Callable[[], nn.Module], Callable[[Tensor], Tensor], Callable[[Array], Array]]] = [
    (nn.ReLU, F.relu, jax.nn.relu),
    (nn.ReLU, torch.relu, nnx.relu),
    (nn.Tanh, torch.tanh, jnp.tanh),
    (nn.Sigmoid, torch.sigmoid, jax.nn.sigmoid),
    (nn.SiLU, F.silu, jax.nn.silu),
    (nn.Softplus, F.softplus, jax.nn.softplus),
    (nn.ReLU6, F.relu6, jax.nn.relu6),
    (nn.Mish, F.mish, jax.nn.mish),
    (nn.Hardswish, F.hardswish, jax.nn.hard_swish),
    (lambda: nn.ELU(0.7), lambda x: F.elu(x, 0.7), lambda x: jax.nn.elu(x, 0.7)),
    (lambda: nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2), lambda x: jax.nn.leaky_relu(x, 0.2)),
    (nn.GELU, F.gelu, lambda x: jax.nn.gelu(x, approximate=False)),
    (lambda: nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh"), jax.nn.gelu),
]


def activation(net: Network) -> None:
    module, function, ours = net.choose(ACTIVATIONS)
    if net.maybe(0.5):
        net.add("act", module, lambda rngs: ours)
    else:
        net.add("act", lambda: lambda x, training: function(x), lambda rngs: ours)


def dropout(net: Network) -> None:
    rate = net.choose([0.1, 0.3, 0.5])
    ours = net.choose([lambda rngs: jnn.Dropout(rate), lambda rngs: nnx.Dropout(rate, rngs=rngs)])
    theirs = net.choose([lambda: nn.Dropout(rate), lambda: lambda x, training: F.dropout(x, rate, training=training)])
    net.add("dropout", theirs, ours)


def dropout_of_channels(net: Network) -> None:
    net.add("dropout", lambda: nn.Dropout2d(0.3), lambda rngs: nnx.Dropout(0.3, broadcast_dims=(1, 2), rngs=rngs))


def max_pool(net: Network) -> None:
    channels, *sizes = net.shape
    window, stride, ceil_mode = net.between(2, 3), net.between(1, 2), net.maybe(0.3)
    padding = net.between(0, window // 2)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    after = [_pooled(size, window, ceil_mode=ceil_mode, stride=stride, padding=padding) for size in sizes]
    border: Any = [
        (padding, max((out - 1) * stride + window - size - padding, 0)) for out, size in zip(after, sizes, strict=True)
    ]

    def stock(x: Array) -> Array:
        return nnx.max_pool(x, (window, window), (stride, stride), padding=border)

    theirs = net.choose(
        [lambda: nn.MaxPool2d(window, **options), lambda: lambda x, training: F.max_pool2d(x, window, **options)]
    )
    net.add("pool", theirs, net.choose([lambda rngs: jnn.MaxPool2d(window, **options), lambda rngs: stock]))
    net.shape = (channels, *after)


def average_pool(net: Network) -> None:
    channels, *sizes = net.shape
    window, stride, counts = net.between(2, 3), net.between(1, 2), net.maybe(0.5)
    padding = net.between(0, window // 2)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "count_include_pad": counts}

    def stock(x: Array) -> Array:
        border: Any = [(padding, padding)] * 2
        return nnx.avg_pool(x, (window, window), (stride, stride), padding=border, count_include_pad=counts)

    theirs = net.choose(
        [lambda: nn.AvgPool2d(window, **options), lambda: lambda x, training: F.avg_pool2d(x, window, **options)]
    )
    net.add("pool", theirs, net.choose([lambda rngs: jnn.AvgPool2d(window, **options), lambda rngs: stock]))
    net.shape = (channels, *(_pooled(size, window, stride=stride, padding=padding) for size in sizes))


def _pooled(size: int, window: int, *, stride: int, padding: int, ceil_mode: bool = False) -> int:
    """PyTorch's rule: with ceil_mode a last window that would begin in the border is left out."""
    reach = size + 2 * padding - window
    out = (math.ceil(reach / stride) if ceil_mode else reach // stride) + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


def flatten(net: Network) -> None:
    """In PyTorch's order, or channels last with a rule that says so."""
    channels, height, width = net.shape
    theirs = net.choose(
        [nn.Flatten, lambda: lambda x, training: torch.flatten(x, 1), lambda: lambda x, training: x.reshape(len(x), -1)]
    )
    channels_last = net.maybe(0.3)
    ours = (
        (lambda rngs: lambda x: x.reshape(len(x), -1))
        if channels_last
        else net.choose(
            [lambda rngs: jnn.Flatten(), lambda rngs: lambda x: x.transpose(0, 3, 1, 2).reshape(len(x), -1)]
        )
    )
    net.add("flatten", theirs, ours)
    net.image = (channels, height, width) if channels_last else None
    net.shape = (channels * height * width,)


def global_mean(net: Network) -> None:
    """Of each channel over an image, or of each feature over a sequence."""
    inner = tuple(range(1, len(net.shape)))
    axes = inner if net.features_last else tuple(axis + 1 for axis in inner)
    net.add("mean", lambda: lambda x, training: x.mean(axes), lambda rngs: lambda x: x.mean(inner))
    net.shape = net.shape[-1:] if net.features_last else net.shape[:1]
