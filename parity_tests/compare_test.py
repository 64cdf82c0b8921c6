"""The toolkit on small ports: right ones pass, however they are written."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch.nn import functional as F

from jaxnn import nn as jaxnn_nn
from jaxnn import optim
from jaxnn.nn.initializers import default_weight
from jaxnn.parity import ParityError, Rule, compare
from jaxnn.parity.report import Report

RANDOM = np.random.default_rng(0)
TABLE = (RANDOM.normal(size=(6, 5)), RANDOM.integers(0, 3, size=6))
IMAGES = (RANDOM.normal(size=(4, 2, 8, 8)), RANDOM.integers(0, 3, size=4))
RNGS = nnx.Rngs(0)


class TorchMLP(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(5, 7)
        self.second = torch.nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(F.dropout(torch.relu(self.first(x)), 0.4, training=self.training))


class StockMLP(nnx.Module):
    """Other names than PyTorch's: paired by the order of calls, which is not that of the names."""

    def __init__(self, features: int = 7) -> None:
        self.z = nnx.Linear(5, features, rngs=RNGS)
        self.a = nnx.Linear(features, 3, rngs=RNGS)
        self.dropout = nnx.Dropout(0.4, rngs=nnx.Rngs(1))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.a(self.dropout(nnx.relu(self.z(x))))


class CompiledMLP(StockMLP):
    """A part that is compiled by itself, whose inside a comparison has to see all the same."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.jit(lambda model, x: StockMLP.__call__(model, x))(self, x)


class TorchCNN(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.pool = torch.nn.MaxPool2d(2)
        self.drop = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(F.relu(self.norm(self.conv(x))))
        return self.head(self.drop(x.flatten(1)))


class JaxnnCNN(nnx.Module):
    def __init__(self) -> None:
        self.conv = jaxnn_nn.Conv2d(2, 4, 3, padding=1, rngs=RNGS)
        self.norm = jaxnn_nn.BatchNorm2d(4)
        self.pool = jaxnn_nn.MaxPool2d(2)
        self.drop = jaxnn_nn.Dropout(0.3)
        self.flatten = jaxnn_nn.Flatten()
        self.head = jaxnn_nn.Linear(64, 3, rngs=RNGS)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.pool(nnx.relu(self.norm(self.conv(x))))
        return self.head(self.drop(self.flatten(x)))


class ChannelsLastCNN(nnx.Module):
    """Stock layers, flattened channels last: right by the rule that says so."""

    def __init__(self) -> None:
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=RNGS)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=RNGS)
        self.drop = nnx.Dropout(0.3, rngs=nnx.Rngs(1))
        self.head = nnx.Linear(64, 3, rngs=RNGS)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
        return self.head(self.drop(x.reshape(len(x), -1)))


class TorchTextCNN(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 5)
        self.conv = torch.nn.Conv1d(5, 4, 3)
        self.drop = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(torch.relu(self.conv(self.embedding(x).transpose(1, 2))))
        return self.head(x.amax(2))


class TextCNN(nnx.Module):
    """Features last throughout, where PyTorch has them last before the convolution and second behind it."""

    def __init__(self) -> None:
        self.embedding = nnx.Embed(9, 5, rngs=RNGS)
        self.conv = nnx.Conv(5, 4, (3,), padding="VALID", rngs=RNGS)
        self.drop = nnx.Dropout(0.3, rngs=nnx.Rngs(1))
        self.head = nnx.Linear(4, 3, rngs=RNGS)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.drop(nnx.relu(self.conv(self.embedding(x)))).max(1))


class RawMLP(nnx.Module):
    """Parameters without layers, and as PyTorch has them."""

    def __init__(self) -> None:
        self.w1, self.b1 = (nnx.Param(default_weight(RNGS, shape, fan_in=5)) for shape in ((7, 5), (7,)))
        self.w2, self.b2 = (nnx.Param(default_weight(RNGS, shape, fan_in=7)) for shape in ((7, 3), (3,)))
        self.dropout = nnx.Dropout(0.4, rngs=nnx.Rngs(1))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.dropout(nnx.relu(x @ self.w1[...].T + self.b1[...]))
        return x @ self.w2[...] + self.b2[...]


RAW_RULES = {
    **{"first.weight": "w1", "first.bias": "b1", "second.bias": "b2"},
    "second.weight": Rule(path="w2", axes=(1, 0)),
}
FLATTEN = {"head": Rule(flatten=(4, 4, 4))}


class Case(NamedTuple):
    """A right port. ``fails``: levels in which it differs for reasons of its own."""

    original: Callable[[], torch.nn.Module]
    port: Callable[[], nnx.Module]
    batch: Any
    options: dict[str, Any] = {}
    fails: tuple[str, ...] = ()


def _one_cycle(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=8)


SGD = ("sgd", {"lr": 0.1, "momentum": 0.9})
STEPS = {"steps": 8}
CASES = {
    "by order, stock layers, functional dropout": Case(TorchMLP, StockMLP, TABLE, {"optimizer": SGD} | STEPS),
    "optax": Case(TorchMLP, StockMLP, TABLE, {"optimizer": SGD, "jax_optimizer": optax.sgd(0.1, momentum=0.9)} | STEPS),
    "nnx.Optimizer": Case(
        TorchMLP,
        StockMLP,
        TABLE,
        {"optimizer": "adamw", "jax_optimizer": nnx.Optimizer(StockMLP(), optim.adamw(1e-3), wrt=nnx.Param)} | STEPS,
    ),
    "a function that makes the optimizer": Case(
        TorchMLP,
        StockMLP,
        TABLE,
        {"optimizer": lambda parameters: torch.optim.RMSprop(parameters, lr=1e-2, momentum=0.5)} | STEPS,
    ),
    "cycled learning rate and momentum": Case(
        TorchMLP, StockMLP, TABLE, {"optimizer": ("sgd", {"lr": 0.1, "momentum": 0.9, "scheduler": _one_cycle})} | STEPS
    ),
    "several batches": Case(
        TorchMLP, StockMLP, [TABLE, (TABLE[0][:4] + 1, TABLE[1][:4])], {"optimizer": "nadam"} | STEPS
    ),
    "evaluation": Case(TorchMLP, StockMLP, TABLE, {"train": False}),
    "compiled inside": Case(TorchMLP, CompiledMLP, TABLE),
    "rules for bare parameters": Case(TorchMLP, RawMLP, TABLE, {"rules": RAW_RULES, "optimizer": SGD} | STEPS),
    "a pair of losses": Case(
        TorchMLP,
        StockMLP,
        TABLE,
        {
            "loss": (
                lambda outputs, targets: F.cross_entropy(outputs, targets, label_smoothing=0.1),
                lambda outputs, targets: optax.softmax_cross_entropy(
                    outputs, optax.smooth_labels(jax.nn.one_hot(targets, 3), 0.1)
                ).mean(),
            )
        },
    ),
    "by name, jaxnn's layers": Case(TorchCNN, JaxnnCNN, IMAGES, {"optimizer": "adam"} | STEPS),
    "float32 within PyTorch's own band": Case(
        TorchCNN, JaxnnCNN, IMAGES, {"optimizer": SGD, "precision": "float32"} | STEPS
    ),
    "flattened channels last, stock BatchNorm": Case(
        TorchCNN, ChannelsLastCNN, IMAGES, {"rules": FLATTEN, "optimizer": SGD} | STEPS, ("buffers", "trajectory")
    ),
    "a layer alone": Case(
        lambda: torch.nn.Conv2d(2, 3, 3),
        lambda: jaxnn_nn.Conv2d(2, 3, 3, rngs=RNGS),
        (IMAGES[0], RANDOM.normal(size=(4, 3, 6, 6))),
        {"loss": "mse_loss"},
    ),
    "tokens and a convolution of one dimension": Case(
        TorchTextCNN,
        TextCNN,
        (RANDOM.integers(0, 9, size=(4, 7)), RANDOM.integers(0, 3, size=4)),
        {"optimizer": SGD} | STEPS,
    ),
    "text": Case(
        lambda: torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 3)),
        lambda: nnx.Sequential(
            nnx.Embed(9, 4, rngs=RNGS), nnx.LayerNorm(4, epsilon=1e-5, rngs=RNGS), nnx.Linear(4, 3, rngs=RNGS)
        ),
        (RANDOM.integers(0, 9, size=(4, 6)), RANDOM.normal(size=(4, 6, 3))),
        {"loss": "mse_loss", "optimizer": SGD} | STEPS,
    ),
}


def _compare(case: Case) -> Report:
    torch.manual_seed(0)
    original = case.original().float() if case.options.get("precision") == "float32" else case.original()
    return compare(original, case.port(), case.batch, **{"loss": "cross_entropy"} | case.options)


@pytest.mark.parametrize("name", CASES)
def test_a_right_port_passes(name: str) -> None:
    case = CASES[name]
    report = _compare(case)
    assert {entry.level for entry in report.entries if entry.failed} == set(case.fails), report.table()
    assert report.ok == (not case.fails)
    compared = {entry.level for entry in report.entries}
    expected = {"forward", "loss", "gradients"} | ({"optimizer", "trajectory"} if "steps" in case.options else set())
    assert expected <= compared
    if case.fails:
        assert report.first_divergence is not None
        assert report.first_divergence.torch_name == "norm.running_var"
        with pytest.raises(ParityError, match="running_var"):
            report.raise_if_failed()
