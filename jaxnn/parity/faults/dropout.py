"""Faults of dropout: how what is kept is scaled, and whether anything is dropped."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxnn.nn import Dropout
from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair

WIDTH, CLASSES = 24, 4
RATE = 0.3


def batch() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(16, 12)), random.integers(0, CLASSES, 16)


def original() -> Any:
    """Linear, ReLU, dropout, head."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(12, WIDTH),
            relu=nn.ReLU(),
            dropout=nn.Dropout(RATE),
            fc2=nn.Linear(WIDTH, CLASSES),
        )
    )


def original_with_function() -> Any:
    """The same, its dropout a function that is called after tanh."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(12, WIDTH)
            self.fc2 = nn.Linear(WIDTH, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc2(F.dropout(torch.tanh(self.fc1(x)), RATE, training=self.training))

    return MLP()


class MLP(nnx.Module):
    """The port of ``original``; ``dropout_options`` go to each call of the dropout."""

    def __init__(
        self,
        dropout: nnx.Module | None = None,
        activation: Callable[[Array], Array] = jax.nn.relu,
        **dropout_options: Any,
    ) -> None:
        rngs = nnx.Rngs(0)
        self.fc1 = nnx.Linear(12, WIDTH, rngs=rngs)
        self.dropout = dropout or nnx.Dropout(RATE, rngs=rngs)
        self.fc2 = nnx.Linear(WIDTH, CLASSES, rngs=rngs)
        self.activation, self.dropout_options = activation, dropout_options

    def __call__(self, x: Array) -> Array:
        return self.fc2(self.dropout(self.activation(self.fc1(x)), **self.dropout_options))


class WrittenDropout(nnx.Module):
    """Dropout as ports write it themselves: what is kept is multiplied by ``scale``."""

    def __init__(self, *, scale: float, deterministic: bool = False) -> None:
        self.scale, self.deterministic = scale, deterministic
        self.rngs = nnx.Rngs(dropout=1)

    def __call__(self, x: Array) -> Array:
        if self.deterministic:
            return x
        keep = jax.random.bernoulli(self.rngs.dropout(), 1 - RATE, x.shape)
        return jnp.where(keep, x * self.scale, 0)


_OPTIONS = {"loss": "cross_entropy"}
MODULE_PAIR = Pair(
    model="MLP with dropout", original=original, port=lambda: MLP(Dropout(RATE)), batch=batch, options=_OPTIONS
)
FUNCTION_PAIR = Pair(
    model="MLP with F.dropout",
    original=original_with_function,
    port=lambda: MLP(activation=jnp.tanh),
    batch=batch,
    options=_OPTIONS,
)
WRITTEN_PAIR = Pair(
    model="MLP with a dropout of its own, in float32",
    original=original,
    port=lambda: MLP(WrittenDropout(scale=1 / (1 - RATE))),
    batch=batch,
    options={**_OPTIONS, "precision": "float32"},
)
EVALUATION_PAIR = Pair(
    model="MLP with dropout in evaluation",
    original=original,
    port=MLP,
    batch=batch,
    options={**_OPTIONS, "train": False},
)

FAULTS = (
    Fault(
        name="dropout that does not scale what it keeps",
        cause="dropout-scale",
        pair=WRITTEN_PAIR,
        level="forward",
        where=("dropout", "fc2"),
        port=lambda: MLP(WrittenDropout(scale=1.0)),
    ),
    Fault(
        name="dropout that multiplies by the share it keeps",
        cause="dropout-scale",
        pair=FUNCTION_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: MLP(WrittenDropout(scale=1 - RATE), activation=jnp.tanh),
    ),
    Fault(
        name="rate 0.7: the share to keep, for that to drop",
        cause="dropout-scale",
        pair=MODULE_PAIR,
        level="forward",
        where=("dropout", "fc2"),
        port=lambda: MLP(nnx.Dropout(1 - RATE, rngs=nnx.Rngs(1))),
    ),
    Fault(
        name="dropout left deterministic",
        cause="train-eval-mode",
        pair=MODULE_PAIR,
        level="forward",
        where=("dropout", "fc2"),
        port=lambda: MLP(deterministic=True),
    ),
    Fault(
        name="F.dropout left out",
        cause="train-eval-mode",
        pair=FUNCTION_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: MLP(activation=jnp.tanh, deterministic=True),
    ),
    Fault(
        name="dropout left on in evaluation",
        cause="train-eval-mode",
        pair=EVALUATION_PAIR,
        level="forward",
        where=("dropout", "fc2"),
        port=lambda: MLP(deterministic=False),
    ),
)
