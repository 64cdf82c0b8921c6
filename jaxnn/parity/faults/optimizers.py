"""Faults of optimizers and learning rates: each shows at a step of training."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from jaxnn import optim
from jaxnn.parity.faults.fault import Fault, Pair
from jaxnn.parity.faults.losses import MLP, labelled, original

RATE, MOMENTUM, DAMPENING, DECAY = 0.1, 0.9, 0.5, 1e-2
STEPS = 8


def scheduler(name: str, **options: Any) -> Callable[[Any], Any]:
    """A class of torch.optim.lr_scheduler with options, for an optimizer."""

    def build(optimizer: Any) -> Any:
        from torch.optim import lr_scheduler

        return getattr(lr_scheduler, name)(optimizer, **options)

    return build


def step_decay(factor: float, *, boundaries: tuple[int, ...]) -> optax.Schedule:
    return optax.piecewise_constant_schedule(RATE, dict.fromkeys(boundaries, factor))


def cosine_decay(count: ArrayLike, *, steps: int = STEPS) -> Array:
    return RATE * (1 + jnp.cos(jnp.pi * jnp.asarray(count) / steps)) / 2


def warm_up(count: ArrayLike, *, start: float = 0.25, steps: int = 4) -> Array:
    return RATE * (start + (1 - start) * jnp.minimum(count, steps) / steps)


def _pair(model: str, name: str, ours: optax.GradientTransformation, *, schedule: Any = None, **options: Any) -> Pair:
    """An optimizer of torch.optim with options, and optax's or jaxnn's that is the same."""
    given = {"optimizer": (name, options), "scheduler": schedule, "jax_optimizer": ours, "steps": STEPS}
    return Pair(
        model=f"MLP, {model}", original=original, port=MLP, batch=labelled, options={"loss": "cross_entropy", **given}
    )


def _fault(name: str, cause: str, pair: Pair, ours: optax.GradientTransformation, *, step: int = 1) -> Fault:
    return Fault(name=name, cause=cause, pair=pair, level="optimizer", step=step, options={"jax_optimizer": ours})


ADAM_PAIR = _pair("Adam", "adam", optax.adam(1e-3), lr=1e-3)
RMSPROP_PAIR = _pair("RMSprop", "rmsprop", optax.rmsprop(1e-2, decay=0.99, eps_in_sqrt=False), lr=1e-2)
ADAGRAD_PAIR = _pair("Adagrad", "adagrad", optim.adagrad(1e-2), lr=1e-2)
ADAM_DECAY_PAIR = _pair("Adam with decay", "adam", optim.adam(1e-3, weight_decay=DECAY), lr=1e-3, weight_decay=DECAY)
ADAMW_PAIR = _pair("AdamW", "adamw", optax.adamw(1e-3, weight_decay=DECAY), lr=1e-3)
SGD_DECAY_PAIR = _pair(
    "SGD with momentum and decay",
    "sgd",
    optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE, MOMENTUM)),
    lr=RATE,
    momentum=MOMENTUM,
    weight_decay=DECAY,
)
MOMENTUM_PAIR = _pair("SGD with momentum", "sgd", optax.sgd(RATE, MOMENTUM), lr=RATE, momentum=MOMENTUM)
NESTEROV_PAIR = _pair(
    "SGD with Nesterov momentum",
    "sgd",
    optax.sgd(RATE, MOMENTUM, nesterov=True),
    lr=RATE,
    momentum=MOMENTUM,
    nesterov=True,
)
DAMPENING_PAIR = _pair(
    "SGD with dampening",
    "sgd",
    optim.sgd(RATE, momentum=MOMENTUM, dampening=DAMPENING),
    lr=RATE,
    momentum=MOMENTUM,
    dampening=DAMPENING,
)
STEP_PAIR = _pair(
    "SGD with steps of the learning rate",
    "sgd",
    optax.sgd(step_decay(0.5, boundaries=(3, 6)), MOMENTUM),
    schedule=scheduler("StepLR", step_size=3, gamma=0.5),
    lr=RATE,
    momentum=MOMENTUM,
)
COSINE_PAIR = _pair(
    "Adam with cosine annealing",
    "adam",
    optax.adam(cosine_decay),
    schedule=scheduler("CosineAnnealingLR", T_max=STEPS),
    lr=RATE,
)
WARM_UP_PAIR = _pair(
    "SGD with a warm-up",
    "sgd",
    optax.sgd(warm_up),
    schedule=scheduler("LinearLR", start_factor=0.25, total_iters=4),
    lr=RATE,
)

FAULTS = (
    _fault("Adam's eps inside the root", "optimizer-eps-placement", ADAM_PAIR, optax.adam(1e-3, eps=0, eps_root=1e-8)),
    _fault(
        "optax.rmsprop's default: eps inside the root",
        "optimizer-eps-placement",
        RMSPROP_PAIR,
        optax.rmsprop(1e-2, decay=0.99),
    ),
    _fault(
        "optax.adagrad, its sum from 0: eps inside the root",
        "optimizer-eps-placement",
        ADAGRAD_PAIR,
        optax.adagrad(1e-2, initial_accumulator_value=0.0, eps=1e-10),
    ),
    _fault(
        "decoupled decay (optax.adamw) for Adam's weight_decay",
        "weight-decay-coupling",
        ADAM_DECAY_PAIR,
        optax.adamw(1e-3, weight_decay=DECAY),
    ),
    _fault(
        "decay added to the gradient for AdamW",
        "weight-decay-coupling",
        ADAMW_PAIR,
        optax.chain(optax.add_decayed_weights(DECAY), optax.adam(1e-3)),
    ),
    _fault(
        "optax.adamw's default decay, a hundredth of PyTorch's",
        "weight-decay-coupling",
        ADAMW_PAIR,
        optax.adamw(1e-3),
    ),
    _fault(
        "SGD's decay kept out of the momentum",
        "weight-decay-coupling",
        SGD_DECAY_PAIR,
        optax.chain(optax.trace(MOMENTUM), optax.add_decayed_weights(DECAY), optax.scale(-RATE)),
    ),
    _fault("Nesterov forgotten", "nesterov", NESTEROV_PAIR, optax.sgd(RATE, MOMENTUM)),
    _fault("Nesterov where PyTorch has none", "nesterov", MOMENTUM_PAIR, optax.sgd(RATE, MOMENTUM, nesterov=True)),
    _fault("dampening forgotten", "dampening", DAMPENING_PAIR, optax.sgd(RATE, MOMENTUM), step=2),
    _fault(
        "first gradient damped too",
        "dampening",
        DAMPENING_PAIR,
        optax.chain(optax.scale(1 - DAMPENING), optax.sgd(RATE, MOMENTUM)),
    ),
    _fault(
        "moving average of gradients for momentum without dampening",
        "dampening",
        MOMENTUM_PAIR,
        optax.chain(optax.ema(MOMENTUM, debias=False), optax.scale(-RATE)),
    ),
    _fault(
        "learning rate reduced one step late",
        "learning-rate-schedule",
        STEP_PAIR,
        optax.sgd(step_decay(0.5, boundaries=(4, 7)), MOMENTUM),
        step=4,
    ),
    _fault(
        "learning rate reduced to a tenth for a half",
        "learning-rate-schedule",
        STEP_PAIR,
        optax.sgd(step_decay(0.1, boundaries=(3, 6)), MOMENTUM),
        step=4,
    ),
    _fault("learning rate that stays", "learning-rate-schedule", STEP_PAIR, optax.sgd(RATE, MOMENTUM), step=4),
    _fault(
        "cosine that ends one step early",
        "learning-rate-schedule",
        COSINE_PAIR,
        optax.adam(lambda count: cosine_decay(count, steps=STEPS - 1)),
        step=2,
    ),
    _fault(
        "warm-up from 0, optax's way",
        "learning-rate-schedule",
        WARM_UP_PAIR,
        optax.sgd(optax.linear_schedule(0.0, RATE, 4)),
    ),
)
