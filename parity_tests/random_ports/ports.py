"""Random ports that are right, and random trainings of them: what parity must not be alarmed by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F
from jax import Array
from torch.optim import lr_scheduler

from jaxnn.parity import compare
from jaxnn.parity.report import Report
from parity_tests.random_ports import parts
from parity_tests.random_ports.network import Network

CLASSES = 5


@dataclass(frozen=True, kw_only=True)
class RandomPort:
    network: Network
    batches: list[tuple[np.ndarray, np.ndarray]]
    options: dict[str, Any]

    def compare(self) -> Report:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            original = self.network.original()
        return compare(original, self.network.port(), self.batches, rules=self.network.rules or None, **self.options)


def random_port(seed: int) -> RandomPort:
    """A network of few weights with a loss, an optimizer and a schedule; all that is random comes from ``seed``."""
    random = np.random.default_rng(seed)
    train = bool(random.random() < 0.75)
    net = Network(random=random, shape=(), train=train, renamed=bool(random.random() < 0.3))
    draw = net.choose([_on_images, _on_images, _on_images, _on_rows, _on_sequences, _on_tokens])(net)
    if net.maybe(0.5) or net.image is not None:
        _dense_block(net)
    if net.maybe(0.2):
        parts.residual(net)
    parts.linear(net, CLASSES)
    loss, targets = _loss(net)
    optimizer, ours = _optimizer(net)
    batches = [(inputs, targets(len(inputs))) for inputs in (draw() for _ in range(net.between(1, 2)))]
    options = {
        "loss": loss,
        "optimizer": optimizer,
        "jax_optimizer": ours,
        "scheduler": None if ours is not None else _schedule(net),
        "steps": net.between(3, 10),
        "train": train,
        "precision": "float32" if net.maybe(0.2) else "float64",
    }
    return RandomPort(network=net, batches=batches, options=options)


def _on_images(net: Network) -> Callable[[], np.ndarray]:
    shape = net.shape = net.between(1, 3), net.between(7, 11), net.between(7, 11)
    if net.maybe(0.1):
        parts.batch_norm(net)
    for _ in range(net.between(1, 2)):
        parts.convolution(net)
        if net.maybe(0.5):
            net.choose([parts.batch_norm, parts.group_norm])(net)
        parts.activation(net)
        if net.maybe(0.6) and min(net.shape[1:]) >= 3:
            net.choose([parts.max_pool, parts.average_pool])(net)
        if net.maybe(0.2):
            net.choose([parts.dropout, parts.dropout_of_channels])(net)
    net.choose([parts.flatten, parts.flatten, parts.global_mean])(net)
    if len(net.shape) == 1 and net.maybe(0.2):
        parts.dropout(net)
    return lambda: net.random.normal(size=(6, *shape))


def _on_rows(net: Network) -> Callable[[], np.ndarray]:
    shape = net.shape = (net.between(4, 11),)
    for _ in range(net.between(1, 3)):
        _dense_block(net)
    return lambda: net.random.normal(size=(8, *shape))


def _on_sequences(net: Network) -> Callable[[], np.ndarray]:
    shape = net.shape = net.between(2, 4), net.between(9, 13)
    for _ in range(net.between(1, 2)):
        parts.convolution(net)
        if net.maybe(0.4):
            parts.group_norm(net)
        parts.activation(net)
        if net.maybe(0.3):
            parts.dropout(net)
    parts.global_mean(net)
    return lambda: net.random.normal(size=(6, *shape))


def _on_tokens(net: Network) -> Callable[[], np.ndarray]:
    tokens = net.between(7, 11)
    shape = net.shape = (net.between(3, 6),)
    parts.embedding(net, tokens, net.between(4, 8))
    if net.maybe(0.5):
        parts.layer_norm(net)
    if net.maybe(0.5):
        parts.linear(net, net.between(4, 8))
        parts.activation(net)
    if net.maybe(0.3):
        parts.features_to_channels(net)
        parts.convolution(net)
        parts.activation(net)
    if net.maybe(0.3):
        parts.dropout(net)
    parts.global_mean(net)
    return lambda: net.random.integers(0, tokens, (8, *shape))


def _dense_block(net: Network) -> None:
    parts.linear(net, net.between(5, 9))
    if net.maybe(0.5):
        net.choose([parts.batch_norm, parts.layer_norm])(net)
    parts.activation(net)
    if net.maybe(0.3):
        parts.dropout(net)
    if net.maybe(0.15):  # one layer twice, with the same weights
        parts.linear(net, net.shape[-1])
        net.order.append(net.order[-1])


Targets = Callable[[int], np.ndarray]


def _loss(net: Network) -> tuple[Any, Targets]:
    """A loss by name, or a pair of functions, and what draws its targets."""

    def labels(count: int) -> np.ndarray:
        return net.random.integers(0, CLASSES, count)

    def vectors(count: int) -> np.ndarray:
        return net.random.normal(size=(count, CLASSES))

    def choices(count: int) -> np.ndarray:
        return net.random.integers(0, 2, (count, CLASSES)).astype(float)

    def smoothed(logits: Array, labels: Array) -> Array:
        targets = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), 0.1)
        return optax.softmax_cross_entropy(logits, targets).mean()

    return net.choose(
        [
            ("cross_entropy", labels),
            ("cross_entropy", labels),
            ("mse_loss", vectors),
            ("smooth_l1_loss", vectors),
            ("huber_loss", vectors),
            ("binary_cross_entropy_with_logits", choices),
            ((lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1), smoothed), labels),
            ((lambda o, t: (o - t).square().sum(), lambda o, t: jnp.square(o - t).sum()), vectors),
            ((F.mse_loss, lambda o, t: optax.squared_error(o, t).mean()), vectors),
        ]
    )


def _optimizer(net: Network) -> tuple[Any, Any]:
    """An optimizer of torch.optim with options, and optax's that is the same, or None for jaxnn's."""
    return net.choose(
        [
            (("sgd", {"lr": 0.05}), None),
            (("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}), None),
            (("sgd", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}), None),
            (("sgd", {"lr": 0.05, "momentum": 0.9}), optax.sgd(0.05, 0.9)),
            (("adam", {"lr": 1e-3}), None),
            (("adam", {"lr": 1e-3, "weight_decay": 1e-2, "amsgrad": True}), None),
            (("adam", {"lr": 1e-3}), optax.adam(1e-3)),
            (("adamw", {"lr": 1e-3}), None),
            (("adamw", {"lr": 1e-3}), optax.adamw(1e-3, weight_decay=1e-2)),
            (("nadam", {"lr": 1e-3}), None),
            (("rmsprop", {"lr": 1e-3, "momentum": 0.5}), None),
            (("rmsprop", {"lr": 1e-3}), optax.rmsprop(1e-3, decay=0.99, eps_in_sqrt=False)),
            (("adagrad", {"lr": 1e-2}), None),
        ]
    )


def _one_cycle(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    cycles_momentum = bool({"momentum", "betas"} & optimizer.defaults.keys())
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=12, cycle_momentum=cycles_momentum)


def _schedule(net: Network) -> Any:
    return net.choose(
        [
            None,
            None,
            lambda o: lr_scheduler.StepLR(o, step_size=2, gamma=0.3),
            lambda o: lr_scheduler.ExponentialLR(o, gamma=0.8),
            lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=6),
            lambda o: lr_scheduler.LinearLR(o, total_iters=4),
            _one_cycle,
        ]
    )
