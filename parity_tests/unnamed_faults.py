"""Faults that no known cause explains: parity must detect and locate them, and diagnosis must not invent a cause."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax import Array

from jaxnn.parity.batches import Batch
from jaxnn.parity.faults import Fault, Pair

FEATURES, CLASSES = 6, 4


def batch() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(16, FEATURES)), random.integers(0, CLASSES, 16)


def tokens() -> Batch:
    """Token 0 among them."""
    random = np.random.default_rng(0)
    return random.integers(0, 4, (16, 5)), random.integers(0, CLASSES, 16)


def original() -> Any:
    """Two layers whose skip connection adds the input, with LayerNorm."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(FEATURES, FEATURES)
            self.norm = nn.LayerNorm(FEATURES)
            self.fc2 = nn.Linear(FEATURES, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc2(torch.tanh(x + self.norm(self.fc1(x))))

    return Residual()


def original_of_tokens() -> Any:
    """An embedding whose token 0 is padding and has no gradient."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            embedding=nn.Embedding(4, 3, padding_idx=0),
            flatten=nn.Flatten(),
            fc=nn.Linear(15, CLASSES),
        )
    )


class Residual(nnx.Module):
    """The port of ``original``."""

    def __init__(
        self,
        *,
        epsilon: float = 1e-5,
        skip: Callable[[Array], Array] = lambda x: x,
        between: Callable[[Array], Array] = lambda x: x,
    ) -> None:
        rngs = nnx.Rngs(0)
        self.fc1 = nnx.Linear(FEATURES, FEATURES, rngs=rngs)
        self.norm = nnx.LayerNorm(FEATURES, epsilon=epsilon, rngs=rngs)
        self.fc2 = nnx.Linear(FEATURES, CLASSES, rngs=rngs)
        self.skip, self.between = skip, between

    def __call__(self, x: Array) -> Array:
        return self.fc2(jax.numpy.tanh(self.skip(x) + self.norm(self.between(self.fc1(x)))))


class PaddedEmbed(nnx.Embed):
    """Has no gradient for token 0, as PyTorch with padding_idx."""

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        y = super().__call__(inputs, out_sharding)
        return jax.numpy.where((inputs == 0)[..., None], jax.lax.stop_gradient(y), y)


class Tokens(nnx.Module):
    """The port of ``original_of_tokens``."""

    def __init__(self, embed: type[nnx.Embed] = PaddedEmbed) -> None:
        rngs = nnx.Rngs(0)
        self.embedding = embed(4, 3, rngs=rngs)
        self.fc = nnx.Linear(15, CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        y = self.embedding(x)
        return self.fc(y.reshape(len(y), -1))


_OPTIONS: Mapping[str, Any] = {
    "loss": "cross_entropy",
    "optimizer": ("adam", {"lr": 1e-3}),
    "jax_optimizer": optax.adam(1e-3),
    "steps": 3,
}
PAIR = Pair(model="residual", original=original, port=Residual, batch=batch, options=_OPTIONS)
TOKENS_PAIR = Pair(model="tokens", original=original_of_tokens, port=Tokens, batch=tokens, options=_OPTIONS)

FAULTS = (
    Fault(
        name="skip connection left out",
        cause="",
        pair=PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: Residual(skip=lambda x: 0 * x),
    ),
    Fault(
        name="a small function of its own",
        cause="",
        pair=PAIR,
        level="forward",
        where=("norm",),
        port=lambda: Residual(between=lambda x: x + 1e-3 * jax.numpy.sin(40 * x)),
    ),
    Fault(
        name="gradient stopped",
        cause="",
        pair=PAIR,
        level="gradients",
        where=("fc1",),
        port=lambda: Residual(between=jax.lax.stop_gradient),
    ),
    Fault(
        name="gradient of the padding token",
        cause="",
        pair=TOKENS_PAIR,
        level="gradients",
        where=("embedding.weight",),
        port=lambda: Tokens(nnx.Embed),
    ),
    Fault(
        name="another beta2",
        cause="",
        pair=PAIR,
        level="optimizer",
        step=1,
        options={"jax_optimizer": optax.adam(1e-3, b2=0.99)},
    ),
    Fault(
        name="SGD for Adam",
        cause="",
        pair=PAIR,
        level="optimizer",
        step=1,
        options={"jax_optimizer": optax.sgd(1e-3)},
    ),
    Fault(
        name="probabilities for logits",
        cause="",
        pair=PAIR,
        level="loss",
        where=("loss",),
        options={"loss": (lambda o, t: _cross_entropy(o, t), lambda o, t: _of_probabilities(o, t))},
    ),
)


def _cross_entropy(outputs: Any, labels: Any) -> Any:
    import torch.nn.functional as F

    return F.cross_entropy(outputs, labels)


def _of_probabilities(logits: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(jax.nn.softmax(logits), labels).mean()
