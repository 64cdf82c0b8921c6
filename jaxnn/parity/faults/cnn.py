"""Faults in convolutional networks: padding, bias, layout of kernels, activation, flattening, precision."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxnn.nn import Conv2d, Flatten, Linear
from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair
from jaxnn.parity.port.pairing import Rule

CHANNELS, CLASSES = 6, 4
SIDE = 12


def batch() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(6, 2, SIDE, SIDE)), random.integers(0, CLASSES, 6)


def original() -> Any:
    """Two convolutions, the first of stride 2, the second square in its channels; leaky ReLU, ReLU, linear head."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class CNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(2, CHANNELS, 3, stride=2, padding=1)
            self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3)
            self.head = nn.Linear(CHANNELS * 4 * 4, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.leaky_relu(self.conv1(x), 0.2)  # (batch, 6, 6, 6)
            x = F.relu(self.conv2(x))  # (batch, 6, 4, 4)
            return F.log_softmax(self.head(torch.flatten(x, 1)), dim=1)

    return CNN()


def original_reflecting() -> Any:
    """A convolution that pads by reflection, and a linear head."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(2, CHANNELS, 3, padding=1, padding_mode="reflect"),
            act=nn.Tanh(),
            flatten=nn.Flatten(),
            head=nn.Linear(CHANNELS * SIDE * SIDE, CLASSES),
        )
    )


class CNN(nnx.Module):
    """The port of ``original``, with other parts where they are given."""

    def __init__(
        self,
        *,
        conv1: nnx.Module | None = None,
        conv2: nnx.Module | None = None,
        act1: Callable[[Array], Array] = lambda x: jax.nn.leaky_relu(x, 0.2),
        act2: Callable[[Array], Array] = jax.nn.relu,
        flatten: Callable[[Array], Array] | None = None,
        log_softmax: Callable[[Array], Array] = jax.nn.log_softmax,
    ) -> None:
        rngs = nnx.Rngs(0)
        self.conv1 = conv1 or nnx.Conv(2, CHANNELS, (3, 3), strides=2, padding=1, rngs=rngs)
        self.conv2 = conv2 or Conv2d(CHANNELS, CHANNELS, 3, rngs=rngs)
        self.head = Linear(CHANNELS * 4 * 4, CLASSES, rngs=rngs)
        self.act1, self.act2, self.log_softmax = act1, act2, log_softmax
        self.flatten = flatten or Flatten()

    def __call__(self, x: Array) -> Array:
        x = self.act1(self.conv1(x))
        x = self.act2(self.conv2(x))
        return self.log_softmax(self.head(self.flatten(x)))


class Reflecting(nnx.Module):
    """The port of ``original_reflecting``."""

    def __init__(self, *, padding_mode: Any = "reflect") -> None:
        rngs = nnx.Rngs(0)
        self.conv = Conv2d(2, CHANNELS, 3, padding=1, padding_mode=padding_mode, rngs=rngs)
        self.flatten = Flatten()
        self.head = Linear(CHANNELS * SIDE * SIDE, CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.head(self.flatten(jnp.tanh(self.conv(x))))


class ByHand(Conv2d):
    """A convolution written out, perhaps with a kernel of other axes or the bias forgotten."""

    def __init__(self, *arguments: Any, axes: str = "HWIO", adds_bias: bool = True, **options: Any) -> None:
        super().__init__(*arguments, rngs=nnx.Rngs(1), **options)
        self.axes, self.adds_bias = axes, adds_bias

    def __call__(self, x: Array) -> Array:
        y = jax.lax.conv_general_dilated(
            x, self.kernel[...], self.stride, self.padding, dimension_numbers=("NHWC", self.axes, "NHWC")
        )
        return y + self.bias[...] if self.adds_bias and self.bias is not None else y


def rounded(*, exponent_bits: int = 8, mantissa_bits: int) -> Callable[..., Array]:
    """A convolution as accelerators have it: operands rounded, the sum in the inputs' own precision."""

    def convolve(x: Array, kernel: Array, *arguments: Any, **options: Any) -> Array:
        x, kernel = (jax.lax.reduce_precision(a, exponent_bits, mantissa_bits) for a in (x, kernel))
        return jax.lax.conv_general_dilated(x, kernel, *arguments, **options)

    return convolve


def _conv1(padding: Any = 1, **options: Any) -> nnx.Conv:
    return nnx.Conv(2, CHANNELS, (3, 3), strides=2, padding=padding, rngs=nnx.Rngs(1), **options)


def _conv2(**options: Any) -> nnx.Conv:
    return nnx.Conv(CHANNELS, CHANNELS, (3, 3), rngs=nnx.Rngs(1), **options)


CNN_PAIR = Pair(model="CNN", original=original, port=CNN, batch=batch, options={"loss": "nll_loss"})
FLOAT32_PAIR = Pair(
    model="CNN in float32",
    original=original,
    port=CNN,
    batch=batch,
    options={"loss": "nll_loss", "precision": "float32"},
)
REFLECTING_PAIR = Pair(
    model="CNN with reflected borders",
    original=original_reflecting,
    port=Reflecting,
    batch=batch,
    options={"loss": "cross_entropy"},
)

FAULTS = (
    Fault(
        name="padding='SAME' with stride 2, which pads after the image alone",
        cause="padding",
        pair=CNN_PAIR,
        level="forward",
        where=("conv1",),
        port=lambda: CNN(conv1=_conv1("SAME")),
    ),
    Fault(
        name="padding ((0, 1), (0, 1)), as in TensorFlow",
        cause="padding",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("conv1",),
        port=lambda: CNN(conv1=_conv1(((0, 1), (0, 1)))),
    ),
    Fault(
        name="Flax's default padding, 'SAME', for none",
        cause="padding",
        pair=CNN_PAIR,
        level="forward",
        where=("conv2",),
        port=lambda: CNN(conv2=_conv2()),
    ),
    Fault(
        name="zeros at the border for reflection",
        cause="padding",
        pair=REFLECTING_PAIR,
        level="forward",
        where=("conv",),
        port=lambda: Reflecting(padding_mode="zeros"),
    ),
    Fault(
        name="convolution that forgets to add its bias",
        cause="missing-bias",
        pair=CNN_PAIR,
        level="forward",
        where=("conv1",),
        port=lambda: CNN(conv1=ByHand(2, CHANNELS, 3, stride=2, padding=1, adds_bias=False)),
    ),
    Fault(
        name="use_bias=False in a convolution",
        cause="missing-bias",
        pair=FLOAT32_PAIR,
        level="weights",
        where=("conv2.bias",),
        port=lambda: CNN(conv2=_conv2(padding="VALID", use_bias=False)),
    ),
    Fault(
        name="kernel read as (height, width, out, in)",
        cause="weight-layout",
        pair=CNN_PAIR,
        level="forward",
        where=("conv2",),
        port=lambda: CNN(conv2=ByHand(CHANNELS, CHANNELS, 3, axes="HWOI")),
    ),
    Fault(
        name="rule that swaps a kernel's height and width",
        cause="weight-layout",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("conv1",),
        options={"rules": {"conv1.weight": Rule(axes=(3, 2, 1, 0))}},
    ),
    Fault(
        name="leaky ReLU with Flax's slope 0.01 for 0.2",
        cause="activation",
        pair=CNN_PAIR,
        level="forward",
        where=("conv2",),
        port=lambda: CNN(act1=jax.nn.leaky_relu),
    ),
    Fault(
        name="ReLU left out",
        cause="activation",
        pair=CNN_PAIR,
        level="forward",
        where=("head",),
        port=lambda: CNN(act2=lambda x: x),
    ),
    Fault(
        name="softmax for log-softmax",
        cause="activation",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("outputs",),
        port=lambda: CNN(log_softmax=jax.nn.softmax),
    ),
    Fault(
        name="images flattened as (height, width, channels)",
        cause="flatten-order",
        pair=CNN_PAIR,
        level="forward",
        where=("head",),
        port=lambda: CNN(flatten=lambda x: x.reshape(len(x), -1)),
    ),
    Fault(
        name="images flattened as (channels, width, height)",
        cause="flatten-order",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("head",),
        port=lambda: CNN(flatten=lambda x: x.transpose(0, 3, 2, 1).reshape(len(x), -1)),
    ),
    Fault(
        name="operands of a convolution rounded to TF32",
        cause="matmul-precision",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("conv1",),
        port=lambda: CNN(conv1=_conv1(conv_general_dilated=rounded(mantissa_bits=10))),
    ),
    Fault(
        name="operands of a convolution rounded to bfloat16",
        cause="matmul-precision",
        pair=CNN_PAIR,
        level="forward",
        where=("conv2",),
        port=lambda: CNN(conv2=_conv2(padding="VALID", conv_general_dilated=rounded(mantissa_bits=7))),
    ),
)
