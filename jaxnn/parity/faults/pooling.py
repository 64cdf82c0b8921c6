"""Faults in pooling: what is beyond the border, how large the result is, who gets the gradient of equal values."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxnn.nn import Conv2d, Flatten, Linear
from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair

CHANNELS, CLASSES, SIDE = 3, 4, 11
BORDER: Any = ((1, 1), (1, 1))  # Flax says that padding is a string, and takes pixels too
Pool = Callable[[Array], Array]


def batch() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(6, 1, SIDE, SIDE)), random.integers(0, CLASSES, 6)


def batch_with_ties() -> Batch:
    """Images of 0 and 1, in which a window of four mostly has equal values."""
    random = np.random.default_rng(0)
    return random.integers(0, 2, (6, 1, SIDE + 1, SIDE + 1)).astype(float), random.integers(0, CLASSES, 6)


def original(pool: Callable[[], Any], *, kernel_size: int = 3, side: int = 6) -> Any:
    """A convolution that keeps the image's size, a pool straight after it (so of values of both signs), a head."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, CHANNELS, kernel_size, padding=kernel_size // 2),
            pool=pool(),
            flatten=nn.Flatten(),
            head=nn.Linear(CHANNELS * side * side, CLASSES),
        )
    )


def original_pooled_first() -> Any:
    """A pool of the image itself."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            head=nn.Linear(6 * 6, CLASSES),
        )
    )


def max_pool() -> Any:
    from torch import nn

    return nn.MaxPool2d(3, stride=2, padding=1)


def average_pool() -> Any:
    from torch import nn

    return nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)


def ceiling_pool() -> Any:
    from torch import nn

    return nn.MaxPool2d(2, ceil_mode=True)


def pool_of_two() -> Any:
    from torch import nn

    return nn.MaxPool2d(2)


class Pooled(nnx.Module):
    """The port of ``original``."""

    def __init__(self, pool: Pool, *, kernel_size: int = 3, side: int = 6) -> None:
        rngs = nnx.Rngs(0)
        self.conv = Conv2d(1, CHANNELS, kernel_size, padding=kernel_size // 2, rngs=rngs)
        self.pool = pool
        self.flatten = Flatten()
        self.head = Linear(CHANNELS * side * side, CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.head(self.flatten(self.pool(self.conv(x))))


class PooledFirst(nnx.Module):
    """The port of ``original_pooled_first``."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.head = nnx.Linear(6 * 6, CLASSES, rngs=nnx.Rngs(0))

    def __call__(self, x: Array) -> Array:
        x = self.pool(x)
        return self.head(x.reshape(len(x), -1))  # one channel: its order is the same in both layouts


def right_max(x: Array) -> Array:
    return nnx.max_pool(x, (3, 3), (2, 2), padding=BORDER)


def right_average(x: Array) -> Array:
    return nnx.avg_pool(x, (3, 3), (2, 2), padding=BORDER, count_include_pad=False)


def right_ceiling(x: Array) -> Array:
    return nnx.max_pool(x, (2, 2), (2, 2), padding=cast(Any, ((0, 1), (0, 1))))


def right_two(x: Array) -> Array:
    return nnx.max_pool(x, (2, 2), (2, 2))


def zero_padded_max(x: Array) -> Array:
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return nnx.max_pool(x, (3, 3), (2, 2))


def max_of_reshaped(x: Array) -> Array:
    """max() shares the gradient out among all equal values."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


def max_of_slices(x: Array) -> Array:
    """maximum() halves the gradient of two equal values, along the width and then along the height."""
    x = jnp.maximum(x[:, :, ::2], x[:, :, 1::2])
    return jnp.maximum(x[:, ::2], x[:, 1::2])


_OPTIONS = {"loss": "cross_entropy"}
MAX_PAIR = Pair(
    model="CNN with a padded max pool",
    original=lambda: original(max_pool),
    port=lambda: Pooled(right_max),
    batch=batch,
    options=_OPTIONS,
)
AVERAGE_PAIR = Pair(
    model="CNN with a padded average pool",
    original=lambda: original(average_pool),
    port=lambda: Pooled(right_average),
    batch=batch,
    options=_OPTIONS,
)
CEILING_PAIR = Pair(
    model="CNN with ceil_mode",
    original=lambda: original(ceiling_pool),
    port=lambda: Pooled(right_ceiling),
    batch=batch,
    options=_OPTIONS,
)
TIES_PAIR = Pair(
    model="CNN on images of two values",
    original=lambda: original(pool_of_two, kernel_size=1),
    port=lambda: Pooled(right_two, kernel_size=1),
    batch=batch_with_ties,
    options=_OPTIONS,
)
POOLED_FIRST_PAIR = Pair(
    model="pool of images of two values",
    original=original_pooled_first,
    port=lambda: PooledFirst(right_two),
    batch=batch_with_ties,
    options=_OPTIONS,
)

FAULTS = (
    Fault(
        name="max pool padded with zeros for -inf",
        cause="pool-padding",
        pair=MAX_PAIR,
        level="forward",
        where=("pool", "flatten", "head"),
        port=lambda: Pooled(zero_padded_max),
    ),
    Fault(
        name="max pool with padding='VALID' of an image padded after it alone",
        cause="pool-padding",
        pair=MAX_PAIR,
        level="forward",
        where=("pool", "flatten", "head"),
        port=lambda: Pooled(lambda x: nnx.max_pool(x, (3, 3), (2, 2), padding=cast(Any, ((0, 2), (0, 2))))),
    ),
    Fault(
        name="average pool that counts the border",
        cause="pool-padding",
        pair=AVERAGE_PAIR,
        level="forward",
        where=("pool", "flatten", "head"),
        port=lambda: Pooled(lambda x: nnx.avg_pool(x, (3, 3), (2, 2), padding=BORDER)),
    ),
    Fault(
        name="ceil_mode forgotten",
        cause="pool-padding",
        pair=CEILING_PAIR,
        level="forward",
        where=("pool", "flatten", "head"),
        port=lambda: Pooled(right_two),
    ),
    Fault(
        name="max pool by reshape and max, which splits ties",
        cause="pool-ties",
        pair=TIES_PAIR,
        level="gradients",
        where=("conv",),
        port=lambda: Pooled(max_of_reshaped, kernel_size=1),
    ),
    Fault(
        name="max pool by jnp.maximum of slices, which halves ties",
        cause="pool-ties",
        pair=POOLED_FIRST_PAIR,
        level="gradients",
        where=("inputs",),
        port=lambda: PooledFirst(max_of_slices),
    ),
)
