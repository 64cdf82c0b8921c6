"""Faults of losses: what is summed and what averaged, smoothed labels, ignored labels."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair

CLASSES, SMOOTHING, IGNORED = 5, 0.1, -100
Loss = Callable[[Array, Array], Array]


def labelled() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(16, 12)), random.integers(0, CLASSES, 16)


def partly_labelled() -> Batch:
    """A third of the labels are to be ignored."""
    inputs, labels = labelled()
    labels[::3] = IGNORED
    return inputs, labels


def vectors() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(16, 12)), random.normal(size=(16, CLASSES))


def several_labels() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(16, 12)), random.integers(0, 2, (16, CLASSES)).astype(float)


def original() -> Any:
    """Linear, ReLU, head."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(12, 8),
            relu=nn.ReLU(),
            fc2=nn.Linear(8, CLASSES),
        )
    )


class MLP(nnx.Module):
    """The port of ``original``."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.fc1 = nnx.Linear(12, 8, rngs=rngs)
        self.fc2 = nnx.Linear(8, CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.fc2(jax.nn.relu(self.fc1(x)))


def torch_loss(name: str, **options: Any) -> Callable[..., Any]:
    """A function of torch.nn.functional with options."""

    def compute(outputs: Any, targets: Any) -> Any:
        import torch.nn.functional as F

        return getattr(F, name)(outputs, targets, **options)

    return compute


cross_entropies: Loss = optax.softmax_cross_entropy_with_integer_labels


def smoothed_cross_entropy(logits: Array, labels: Array) -> Array:
    targets = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), SMOOTHING)
    return optax.softmax_cross_entropy(logits, targets).mean()


def smoothed_over_others(logits: Array, labels: Array) -> Array:
    """The label keeps 1 - smoothing, and the other classes share the rest."""
    others = SMOOTHING / (CLASSES - 1)
    targets = jnp.where(jax.nn.one_hot(labels, CLASSES) > 0, 1 - SMOOTHING, others)
    return optax.softmax_cross_entropy(logits, targets).mean()


def masked_cross_entropy(logits: Array, labels: Array) -> Array:
    kept = labels != IGNORED
    losses = jnp.where(kept, cross_entropies(logits, jnp.where(kept, labels, 0)), 0)
    return losses.sum() / kept.sum()


def masked_and_averaged_over_all(logits: Array, labels: Array) -> Array:
    kept = labels != IGNORED
    return jnp.where(kept, cross_entropies(logits, jnp.where(kept, labels, 0)), 0).mean()


def _pair(model: str, batch: Callable[[], Batch], theirs: Callable[..., Any], ours: Loss) -> Pair:
    return Pair(model=model, original=original, port=MLP, batch=batch, options={"loss": (theirs, ours)})


def _fault(name: str, cause: str, pair: Pair, ours: Loss) -> Fault:
    theirs, _ = pair.options["loss"]
    options: Mapping[str, Any] = {"loss": (theirs, ours)}
    return Fault(name=name, cause=cause, pair=pair, level="loss", where=("loss",), options=options)


ENTROPY_PAIR = _pair(
    "MLP, cross-entropy", labelled, torch_loss("cross_entropy"), lambda o, t: cross_entropies(o, t).mean()
)
SQUARES_PAIR = _pair(
    "MLP, mean squared error", vectors, torch_loss("mse_loss"), lambda o, t: optax.squared_error(o, t).mean()
)
BINARY_PAIR = _pair(
    "MLP, several labels",
    several_labels,
    torch_loss("binary_cross_entropy_with_logits"),
    lambda o, t: optax.sigmoid_binary_cross_entropy(o, t).mean(),
)
SMOOTHED_PAIR = _pair(
    "MLP, smoothed labels",
    labelled,
    torch_loss("cross_entropy", label_smoothing=SMOOTHING),
    smoothed_cross_entropy,
)
IGNORED_PAIR = _pair("MLP, ignored labels", partly_labelled, torch_loss("cross_entropy"), masked_cross_entropy)
IGNORED_CLASS_PAIR = _pair(
    "MLP, an ignored class",
    labelled,
    torch_loss("cross_entropy", ignore_index=0),
    lambda o, t: jnp.where(t == 0, 0, cross_entropies(o, t)).sum() / (t != 0).sum(),
)

FAULTS = (
    _fault(
        "cross-entropy summed over the batch",
        "loss-reduction",
        ENTROPY_PAIR,
        lambda o, t: cross_entropies(o, t).sum(),
    ),
    _fault(
        "cross-entropy averaged over the classes too",
        "loss-reduction",
        ENTROPY_PAIR,
        lambda o, t: -(jax.nn.one_hot(t, CLASSES) * jax.nn.log_softmax(o)).mean(),
    ),
    _fault(
        "squared errors summed over the outputs, averaged over the batch",
        "loss-reduction",
        SQUARES_PAIR,
        lambda o, t: optax.squared_error(o, t).sum(axis=1).mean(),
    ),
    _fault(
        "optax.l2_loss, which is half of it", "loss-reduction", SQUARES_PAIR, lambda o, t: optax.l2_loss(o, t).mean()
    ),
    _fault(
        "binary cross-entropies summed over the labels",
        "loss-reduction",
        BINARY_PAIR,
        lambda o, t: optax.sigmoid_binary_cross_entropy(o, t).sum(axis=-1).mean(),
    ),
    _fault("label smoothing forgotten", "label-smoothing", SMOOTHED_PAIR, lambda o, t: cross_entropies(o, t).mean()),
    _fault("smoothing shared among the other classes", "label-smoothing", SMOOTHED_PAIR, smoothed_over_others),
    _fault("ignored labels counted in the mean", "ignore-index", IGNORED_PAIR, masked_and_averaged_over_all),
    _fault(
        "ignored labels clipped to class 0",
        "ignore-index",
        IGNORED_PAIR,
        lambda o, t: cross_entropies(o, jnp.clip(t, 0, CLASSES - 1)).mean(),
    ),
    _fault("ignored class not ignored", "ignore-index", IGNORED_CLASS_PAIR, lambda o, t: cross_entropies(o, t).mean()),
)
