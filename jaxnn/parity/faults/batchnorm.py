"""Faults of batch normalization: the momentum's convention, the variance that is tracked, eps, the mode."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxnn.nn import BatchNorm1d, BatchNorm2d, Conv2d, Flatten, Linear
from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair

CHANNELS, CLASSES, WIDTH = 6, 4, 8


def batch_of_images() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(0.5, 2.0, (6, 2, 6, 6)), random.integers(0, CLASSES, 6)


def batch_of_rows() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(0.5, 2.0, (16, 12)), random.integers(0, CLASSES, 16)


def original_cnn() -> Any:
    """Convolution, BatchNorm, ReLU, head."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(2, CHANNELS, 3),
            bn=nn.BatchNorm2d(CHANNELS),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            head=nn.Linear(CHANNELS * 4 * 4, CLASSES),
        )
    )


def original_mlp() -> Any:
    """Linear, BatchNorm, ReLU, head; its running statistics are those of a model that was trained."""
    import torch
    from torch import nn

    norm = nn.BatchNorm1d(WIDTH)
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(12, WIDTH),
            bn=norm,
            relu=nn.ReLU(),
            fc2=nn.Linear(WIDTH, CLASSES),
        )
    )


class CNN(nnx.Module):
    """The port of ``original_cnn``."""

    def __init__(self, norm: Callable[..., nnx.Module] = BatchNorm2d, **options: Any) -> None:
        rngs = nnx.Rngs(0)
        self.conv = Conv2d(2, CHANNELS, 3, rngs=rngs)
        self.bn = norm(CHANNELS, **options)
        self.flatten = Flatten()
        self.head = Linear(CHANNELS * 4 * 4, CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.head(self.flatten(jax.nn.relu(self.bn(self.conv(x)))))


class MLP(nnx.Module):
    """The port of ``original_mlp``; ``norm_options`` go to each call of the BatchNorm."""

    def __init__(self, norm: nnx.Module | None = None, **norm_options: Any) -> None:
        rngs = nnx.Rngs(0)
        self.fc1 = nnx.Linear(12, WIDTH, rngs=rngs)
        self.bn = norm or BatchNorm1d(WIDTH)
        self.fc2 = nnx.Linear(WIDTH, CLASSES, rngs=rngs)
        self.norm_options = norm_options

    def __call__(self, x: Array) -> Array:
        return self.fc2(jax.nn.relu(self.bn(self.fc1(x), **self.norm_options)))


class WrittenBatchNorm(nnx.Module):
    """BatchNorm as ports write it themselves, perhaps with a biased running variance or eps added to the deviation."""

    def __init__(self, features: int, *, biased: bool = False, eps_outside: bool = False) -> None:
        self.scale, self.bias = nnx.Param(jnp.ones(features)), nnx.Param(jnp.zeros(features))
        self.mean, self.var = nnx.BatchStat(jnp.zeros(features)), nnx.BatchStat(jnp.ones(features))
        self.biased, self.eps_outside = biased, eps_outside
        self.use_running_average = False

    def __call__(self, x: Array) -> Array:
        axes = tuple(range(x.ndim - 1))
        mean, var = self.mean[...], self.var[...]
        if not self.use_running_average:
            mean, var = x.mean(axes), x.var(axes)
            count = x.size // x.shape[-1]
            tracked = var if self.biased else var * count / (count - 1)
            self.mean[...] = 0.9 * self.mean[...] + 0.1 * mean
            self.var[...] = 0.9 * self.var[...] + 0.1 * tracked
        deviation = jnp.sqrt(var) + 1e-5 if self.eps_outside else jnp.sqrt(var + 1e-5)
        return (x - mean) / deviation * self.scale[...] + self.bias[...]


def _stock(**options: Any) -> nnx.BatchNorm:
    return nnx.BatchNorm(WIDTH, rngs=nnx.Rngs(1), **options)


_OPTIONS = {"loss": "cross_entropy"}
CNN_PAIR = Pair(model="CNN with BatchNorm", original=original_cnn, port=CNN, batch=batch_of_images, options=_OPTIONS)
MLP_PAIR = Pair(model="MLP with BatchNorm", original=original_mlp, port=MLP, batch=batch_of_rows, options=_OPTIONS)
FLOAT32_PAIR = Pair(
    model="MLP with BatchNorm in float32",
    original=original_mlp,
    port=MLP,
    batch=batch_of_rows,
    options={**_OPTIONS, "precision": "float32"},
)
WRITTEN_PAIR = Pair(
    model="CNN with a BatchNorm of its own",
    original=original_cnn,
    port=lambda: CNN(WrittenBatchNorm),
    batch=batch_of_images,
    options=_OPTIONS,
)
EVALUATION_PAIR = Pair(
    model="MLP with BatchNorm in evaluation",
    original=original_mlp,
    port=lambda: MLP(_stock(momentum=0.9)),
    batch=batch_of_rows,
    options={**_OPTIONS, "train": False},
)

FAULTS = (
    Fault(
        name="momentum 0.9, as Flax counts it, in a layer that counts as PyTorch",
        cause="batchnorm-momentum",
        pair=CNN_PAIR,
        level="buffers",
        where=("bn.running_mean", "bn.running_var"),
        port=lambda: CNN(momentum=0.9),
    ),
    Fault(
        name="Flax's BatchNorm with its default momentum of 0.99",
        cause="batchnorm-momentum",
        pair=FLOAT32_PAIR,
        level="buffers",
        where=("bn.running_mean", "bn.running_var"),
        port=lambda: MLP(_stock()),
    ),
    Fault(
        name="Flax's BatchNorm with PyTorch's momentum of 0.1",
        cause="batchnorm-momentum",
        pair=MLP_PAIR,
        level="buffers",
        where=("bn.running_mean", "bn.running_var"),
        port=lambda: MLP(_stock(momentum=0.1)),
    ),
    Fault(
        name="Flax's BatchNorm, which tracks the biased variance",
        cause="batchnorm-running-variance",
        pair=MLP_PAIR,
        level="buffers",
        where=("bn.running_var",),
        port=lambda: MLP(_stock(momentum=0.9)),
    ),
    Fault(
        name="running variance by jnp.var",
        cause="batchnorm-running-variance",
        pair=WRITTEN_PAIR,
        level="buffers",
        where=("bn.running_var",),
        port=lambda: CNN(WrittenBatchNorm, biased=True),
    ),
    Fault(
        name="eps 1e-3, as in Keras",
        cause="batchnorm-eps",
        pair=CNN_PAIR,
        level="forward",
        where=("bn",),
        port=lambda: CNN(eps=1e-3),
    ),
    Fault(
        name="eps added to the deviation",
        cause="batchnorm-eps",
        pair=WRITTEN_PAIR,
        level="forward",
        where=("bn",),
        port=lambda: CNN(WrittenBatchNorm, eps_outside=True),
    ),
    Fault(
        name="epsilon 1e-3 in evaluation",
        cause="batchnorm-eps",
        pair=EVALUATION_PAIR,
        level="forward",
        where=("bn",),
        port=lambda: MLP(_stock(momentum=0.9, epsilon=1e-3)),
    ),
    Fault(
        name="BatchNorm left in evaluation mode",
        cause="train-eval-mode",
        pair=MLP_PAIR,
        level="forward",
        where=("bn",),
        port=lambda: MLP(_stock(momentum=0.9), use_running_average=True),
    ),
    Fault(
        name="BatchNorm left in training mode in evaluation",
        cause="train-eval-mode",
        pair=EVALUATION_PAIR,
        level="forward",
        where=("bn",),
        port=lambda: MLP(_stock(momentum=0.9), use_running_average=False),
    ),
)
