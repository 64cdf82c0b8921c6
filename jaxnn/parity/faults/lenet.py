"""Faults between layers, where activation, pool, flattening and dropout follow each other, in a port that trains."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair

CLASSES, SIDE, RATE = 4, 16, 0.2


def batches() -> list[Batch]:
    random = np.random.default_rng(0)
    return [(random.normal(size=(5, 1, SIDE, SIDE)), random.integers(0, CLASSES, 5)) for _ in range(3)]


def original() -> Any:
    """LeNet in small, one pool for both convolutions; all without weights is between its layers."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class LeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3)
            self.pool = nn.MaxPool2d(2)
            self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
            self.fc1 = nn.Linear(6 * 3 * 3, 12)
            self.fc2 = nn.Linear(12, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(F.elu(self.conv1(x)))  # (batch, 4, 7, 7)
            x = self.pool(F.relu(self.conv2(x)))  # (batch, 6, 3, 3)
            x = F.relu(self.fc1(x.view(len(x), -1)))
            return self.fc2(F.dropout(x, RATE, training=self.training))

    return LeNet()


class LeNet(nnx.Module):
    """The port of ``original`` in Flax's own layers and functions, with others where they are given."""

    def __init__(
        self,
        *,
        fc1: nnx.Module | None = None,
        act1: Callable[[Array], Array] = jax.nn.elu,
        act2: Callable[[Array], Array] = jax.nn.relu,
        act3: Callable[[Array], Array] = jax.nn.relu,
        pool: Callable[[Array], Array] = lambda x: nnx.max_pool(x, (2, 2), (2, 2)),
        flatten: Callable[[Array], Array] = lambda x: x.transpose(0, 3, 1, 2).reshape(len(x), -1),
        rate: float = RATE,
    ) -> None:
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(1, 4, (3, 3), padding="VALID", rngs=rngs)
        self.conv2 = nnx.Conv(4, 6, (3, 3), padding=1, rngs=rngs)
        self.fc1 = fc1 or nnx.Linear(6 * 3 * 3, 12, rngs=rngs)
        self.fc2 = nnx.Linear(12, CLASSES, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.act1, self.act2, self.act3, self.pool, self.flatten = act1, act2, act3, pool, flatten

    def __call__(self, x: Array) -> Array:
        x = self.pool(self.act1(self.conv1(x)))
        x = self.pool(self.act2(self.conv2(x)))
        x = self.act3(self.fc1(self.flatten(x)))
        return self.fc2(self.dropout(x))


PAIR = Pair(
    model="LeNet",
    original=original,
    port=LeNet,
    batch=batches,
    options={
        "loss": "cross_entropy",
        "optimizer": ("sgd", {"lr": 0.05, "momentum": 0.9}),
        "jax_optimizer": optax.sgd(0.05, 0.9),
        "steps": 4,
    },
)
FLOAT32_PAIR = Pair(**{**vars(PAIR), "model": "LeNet in float32", "options": {**PAIR.options, "precision": "float32"}})

FAULTS = (
    Fault(
        name="activation left out before a pool",
        cause="activation",
        pair=PAIR,
        level="forward",
        where=("pool", "conv2"),
        port=lambda: LeNet(act1=lambda x: x),
    ),
    Fault(
        name="ReLU for ELU before a pool",
        cause="activation",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("pool", "conv2"),
        port=lambda: LeNet(act1=jax.nn.relu),
    ),
    Fault(
        name="flattening channels last after ReLU and a pool",
        cause="flatten-order",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("fc1",),
        port=lambda: LeNet(flatten=lambda x: x.reshape(len(x), -1)),
    ),
    Fault(
        name="pool with padding='SAME', which keeps the last column of an odd image",
        cause="pool-padding",
        pair=PAIR,
        level="forward",
        where=("pool#2", "fc1"),
        port=lambda: LeNet(pool=lambda x: nnx.max_pool(x, (2, 2), (2, 2), padding="SAME")),
    ),
    Fault(
        name="dropout after ReLU at half its rate",
        cause="dropout-scale",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: LeNet(rate=RATE / 2),
    ),
    Fault(
        name="activation left out before dropout",
        cause="activation",
        pair=PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: LeNet(act3=lambda x: x),
    ),
    Fault(
        name="fc1 in bfloat16 while it trains",
        cause="dtype",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("fc1",),
        port=lambda: LeNet(fc1=nnx.Linear(6 * 3 * 3, 12, dtype=jnp.bfloat16, rngs=nnx.Rngs(1))),
    ),
)
