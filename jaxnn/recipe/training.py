"""Loss, optimizer, schedule and clipping, with torch.nn's and torch.optim's option names."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from jaxnn.errors import UserError
from jaxnn.recipe.checks import is_not_negative, is_positive, only_for, require

LossName = Literal["nll", "cross_entropy", "mse", "sse", "bce", "bce_with_logits", "sum"]
Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss of torch.nn.functional with its options."""

    name: LossName = "cross_entropy"
    """sse: summed squares; sum: (output - target).sum()."""
    reduction: Reduction = "mean"
    """The mean of a batch, or its sum."""
    weight: tuple[float, ...] | None = None
    """Of each class (nll, cross_entropy)."""
    ignore_index: int = -100
    """The class whose examples do not count (nll, cross_entropy)."""
    label_smoothing: float = 0.0
    """The share of each target that is spread over all classes (cross_entropy)."""
    pos_weight: float | None = None
    """The weight of class 1 (bce_with_logits)."""

    def __post_init__(self) -> None:
        only_for(self, "loss", _LOSS_OPTIONS)
        require(0 <= self.label_smoothing <= 1, "loss.label_smoothing", self.label_smoothing, "in [0, 1]")
        if self.weight is not None:
            require(all(map(is_not_negative, self.weight)), "loss.weight", self.weight, "weights >= 0")
        if self.pos_weight is not None:
            require(is_not_negative(self.pos_weight), "loss.pos_weight", self.pos_weight, ">= 0")

    @property
    def binary(self) -> bool:
        """Whether the model has one output, the log-odds of class 1 (``bce`` puts it through a sigmoid first)."""
        return self.name in ("bce", "bce_with_logits")

    @property
    def summed(self) -> bool:
        """Whether the loss of a batch grows with the number of its examples."""
        return self.reduction == "sum" or self.name == "sum"

    def require_classes(self, classes: int) -> None:
        """Raises UserError if the loss cannot be taken on a data set of so many classes."""
        if self.binary and classes != 2:
            raise UserError(f"loss {self.name!r} is for two classes, but the data set has {classes}; use cross_entropy")
        if self.weight is not None and len(self.weight) != classes:
            raise UserError(
                f"loss.weight must have one weight for each of {classes} classes, but has {len(self.weight)}"
            )


_LOSS_OPTIONS = {
    "weight": ("nll", "cross_entropy"),
    "ignore_index": ("nll", "cross_entropy"),
    "label_smoothing": ("cross_entropy",),
    "pos_weight": ("bce_with_logits",),
}

OptimizerName = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer of torch.optim with its options; None means that optimizer's own default."""

    name: OptimizerName = "sgd"
    """Each option below belongs to the optimizers in brackets, or to all."""
    learning_rate: float = 0.01
    """Where a schedule starts from."""
    momentum: float = 0.0
    """How much of the last update goes on (sgd, rmsprop)."""
    dampening: float = 0.0
    """By how much less the gradient counts then (sgd)."""
    nesterov: bool = False
    """Nesterov's momentum (sgd)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square (adam, adamw, nadam)."""
    amsgrad: bool = False
    """Divide by the largest average of squares so far (adam, adamw)."""
    momentum_decay: float = 4e-3
    """How fast the momentum grows to its value (nadam)."""
    alpha: float = 0.99
    """Decay of the average of squares (rmsprop)."""
    centered: bool = False
    """Divide by the gradient's variance (rmsprop)."""
    lr_decay: float = 0.0
    """How fast the learning rate falls by itself (adagrad)."""
    initial_accumulator_value: float = 0.0
    """Where the sum of squares starts (adagrad)."""
    eps: float | None = None
    """Added to what is divided by (all but sgd)."""
    weight_decay: float | None = None
    """L2 penalty; adamw: taken from the weights themselves."""
    maximize: bool = False
    """Climb the loss."""

    def __post_init__(self) -> None:
        only_for(self, "optimizer", _OPTIMIZER_OPTIONS)
        for name in ("learning_rate", "momentum", "momentum_decay", "alpha", "lr_decay", "initial_accumulator_value"):
            value = getattr(self, name)
            require(is_not_negative(value), f"optimizer.{name}", value, "a finite number >= 0")
        for name in ("eps", "weight_decay"):
            value = getattr(self, name)
            require(value is None or is_not_negative(value), f"optimizer.{name}", value, "a finite number >= 0")
        require(math.isfinite(self.dampening), "optimizer.dampening", self.dampening, "finite")
        require(all(0 <= b < 1 for b in self.betas), "optimizer.betas", self.betas, "in [0, 1)")
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise UserError("optimizer.nesterov needs optimizer.momentum above 0 and optimizer.dampening 0")

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of this optimizer, ``learning_rate`` apart."""
        used = {name: getattr(self, name) for name, users in _OPTIMIZER_OPTIONS.items() if self.name in users}
        used |= {"weight_decay": self.weight_decay, "maximize": self.maximize}
        return {name: value for name, value in used.items() if value is not None}


_OPTIMIZER_OPTIONS = {
    "momentum": ("sgd", "rmsprop"),
    "dampening": ("sgd",),
    "nesterov": ("sgd",),
    "betas": ("adam", "adamw", "nadam"),
    "amsgrad": ("adam", "adamw"),
    "momentum_decay": ("nadam",),
    "alpha": ("rmsprop",),
    "centered": ("rmsprop",),
    "lr_decay": ("adagrad",),
    "initial_accumulator_value": ("adagrad",),
    "eps": ("adam", "adamw", "nadam", "rmsprop", "adagrad"),
}

ScheduleName = Literal["constant", "step", "exponential", "cosine", "one_cycle", "plateau"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A scheduler of torch.optim.lr_scheduler; one_cycle advances every step, the others every epoch."""

    name: ScheduleName = "constant"
    """Each option below belongs to the schedules in brackets."""
    step_size: int = 10
    """Epochs between two cuts of the learning rate (step)."""
    gamma: float = 0.1
    """What the learning rate is multiplied by (step, exponential)."""
    t_max: int | None = None
    """Epochs until the smallest learning rate; None: all (cosine)."""
    eta_min: float = 0.0
    """The smallest learning rate (cosine)."""
    max_lr: float | None = None
    """The largest learning rate; None: the optimizer's (one_cycle)."""
    pct_start: float = 0.3
    """The share of the steps in which the learning rate rises (one_cycle)."""
    anneal_strategy: Literal["cos", "linear"] = "cos"
    """The curve between two learning rates (one_cycle)."""
    cycle_momentum: bool = True
    """The momentum, or the first of betas, falls while the learning rate rises (one_cycle)."""
    base_momentum: float = 0.85
    """The smallest momentum (one_cycle)."""
    max_momentum: float = 0.95
    """The largest momentum (one_cycle)."""
    div_factor: float = 25.0
    """The largest learning rate over the first one (one_cycle)."""
    final_div_factor: float = 1e4
    """The first learning rate over the last one (one_cycle)."""
    three_phase: bool = False
    """Fall back to the first learning rate as fast as it rose, then to the last one (one_cycle)."""
    monitor: Literal["train_loss", "test_loss", "train_accuracy", "test_accuracy"] = "test_loss"
    """The field of metrics.jsonl that is watched (plateau)."""
    mode: Literal["min", "max"] = "min"
    """Whether less or more is better (plateau)."""
    factor: float = 0.1
    """What the learning rate is multiplied by (plateau)."""
    patience: int = 10
    """Epochs without an improvement before that (plateau)."""
    threshold: float = 1e-4
    """The smallest improvement (plateau)."""
    threshold_mode: Literal["rel", "abs"] = "rel"
    """It is relative to the best value, or absolute (plateau)."""
    cooldown: int = 0
    """Epochs after a cut in which none is counted (plateau)."""
    min_lr: float = 0.0
    """The smallest learning rate (plateau)."""
    eps: float = 1e-8
    """Smaller changes of the learning rate are left out (plateau)."""

    @property
    def needs_length(self) -> bool:
        """Whether the learning rate depends on how long the whole run is."""
        return self.name == "one_cycle" or (self.name == "cosine" and self.t_max is None)

    def __post_init__(self) -> None:
        only_for(self, "schedule", _SCHEDULE_OPTIONS)
        require(self.step_size > 0, "schedule.step_size", self.step_size, "a positive number of epochs")
        require(self.t_max is None or self.t_max > 0, "schedule.t_max", self.t_max, "positive")
        require(self.max_lr is None or is_positive(self.max_lr), "schedule.max_lr", self.max_lr, "positive")
        require(0 < self.pct_start < 1, "schedule.pct_start", self.pct_start, "between 0 and 1")
        require(is_positive(self.gamma), "schedule.gamma", self.gamma, "a finite number above 0")
        require(0 < self.factor < 1, "schedule.factor", self.factor, "between 0 and 1")
        for name in ("div_factor", "final_div_factor"):
            require(is_positive(getattr(self, name)), f"schedule.{name}", getattr(self, name), "positive")
        for name in ("eta_min", "patience", "threshold", "cooldown", "min_lr", "eps"):
            require(is_not_negative(getattr(self, name)), f"schedule.{name}", getattr(self, name), ">= 0")


_SCHEDULE_OPTIONS = {
    "step_size": ("step",),
    "gamma": ("step", "exponential"),
    "t_max": ("cosine",),
    "eta_min": ("cosine",),
    **dict.fromkeys(
        ("max_lr", "pct_start", "anneal_strategy", "cycle_momentum", "base_momentum", "max_momentum", "div_factor")
        + ("final_div_factor", "three_phase"),
        ("one_cycle",),
    ),
    **dict.fromkeys(
        ("monitor", "mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps"),
        ("plateau",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Gradient clipping."""

    norm: float | None = None
    """The largest norm of all gradients together, as torch.nn.utils.clip_grad_norm_."""
    value: float | None = None
    """The largest absolute value of each number, as torch.nn.utils.clip_grad_value_."""

    def __post_init__(self) -> None:
        for name in ("norm", "value"):
            value = getattr(self, name)
            require(value is None or is_positive(value), f"clip.{name}", value, "a finite number above 0")
        require(self.norm is None or self.value is None, "clip", self, "by norm or by value, not both")
