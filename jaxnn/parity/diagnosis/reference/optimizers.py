"""torch.optim's optimizers, with what a port may choose: all parameters as one array, element by element."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

EpsPlacement = Literal["outside", "inside", "before correction", "inside, before correction"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An optimizer's options by torch's names and, with PyTorch's choice as the default, what ports choose.

    ``betas[1]`` stands for RMSprop's alpha too. ``decoupled``: the decay shrinks the parameter and leaves the
    gradient alone. ``decayed``: which elements decay (None: all). ``eps_placement``: beside the root, inside of
    it, and for Adam also before the bias of the second moment is corrected. ``dampen_first``: the first gradient
    too. ``rate_in_buffer``: the learning rate is multiplied before the momentum. ``cycled``: the momentum follows a
    schedule, if there is one that sets it.
    """

    name: str
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    maximize: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False
    centered: bool = False
    momentum_decay: float = 4e-3
    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    decoupled: bool = False
    decayed: np.ndarray | None = field(default=None, repr=False)
    eps_placement: EpsPlacement = "outside"
    dampen_first: bool = False
    rate_in_buffer: bool = False
    corrected: bool = True
    cycled: bool = True

    def at(self, momentum: float) -> "Rule":
        """At a step for which a schedule has set the momentum, which for Adam is the first of its betas."""
        if not self.cycled or np.isnan(momentum):
            return self
        if self.name in ("adam", "adamw", "nadam"):
            return replace(self, betas=(momentum, self.betas[1]))
        return replace(self, momentum=momentum)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Consecutive steps from ``first`` (from 1) on: where they start, and what each is given.

    ``momenta``: of the schedules that change it; NaN, or none given, stands for the rule's own.
    """

    first: int
    params: np.ndarray
    slots: Mapping[str, np.ndarray]
    gradients: Sequence[np.ndarray]
    rates: Sequence[float]
    momenta: Sequence[float] = ()


def rule_of(options: Mapping[str, Any]) -> Rule | None:
    """The rule of a recorded optimizer; None for one that is not known here, or with groups of parameters."""
    name = options.get("name")
    if name not in _DIRECTIONS or "groups" in options:
        return None
    known = {key: value for key, value in options.items() if key in Rule.__dataclass_fields__}
    if "betas" in known:
        known["betas"] = tuple(known["betas"])
    if "alpha" in options:
        known["betas"] = (0.0, options["alpha"])
    decoupled = name == "adamw" or bool(options.get("decoupled_weight_decay", False))
    return Rule(**{**known, "decoupled": decoupled})


def simulate(rule: Rule, stretch: Stretch) -> list[np.ndarray]:
    """The parameters after each step."""
    return list(_steps(rule, stretch))


def _steps(rule: Rule, stretch: Stretch) -> Iterator[np.ndarray]:
    params, slots = stretch.params, dict(stretch.slots)
    momenta = stretch.momenta or [np.nan] * len(stretch.rates)
    given = zip(stretch.gradients, stretch.rates, momenta, strict=True)
    for t, (gradient, rate, momentum) in enumerate(given, start=stretch.first):
        gradient = -gradient if rule.maximize else gradient
        decay = rule.weight_decay * (1 if rule.decayed is None else rule.decayed)
        if rule.decoupled:
            shrunk = params * (1 - rate * decay)
        else:
            shrunk, gradient = params, gradient + decay * params
        params = shrunk - _DIRECTIONS[rule.name](rule.at(momentum), gradient, slots, t, rate)
        yield params


def _sgd(rule: Rule, gradient: np.ndarray, slots: dict[str, np.ndarray], t: int, rate: float) -> np.ndarray:
    if not rule.momentum:
        return rate * gradient
    share = 1.0 if t == 1 and not rule.dampen_first else 1 - rule.dampening
    return _with_momentum(rule, gradient, share, slots, rate)


def _with_momentum(
    rule: Rule, direction: np.ndarray, share: float, slots: dict[str, np.ndarray], rate: float
) -> np.ndarray:
    inside, outside = (rate, 1.0) if rule.rate_in_buffer else (1.0, rate)
    entering = inside * direction
    buffer = rule.momentum * slots.get("momentum_buffer", np.zeros_like(direction)) + share * entering
    slots["momentum_buffer"] = buffer
    return outside * (entering + rule.momentum * buffer if rule.nesterov else buffer)


def _root(rule: Rule, second: np.ndarray, correction: float = 1.0) -> np.ndarray:
    """The denominator: the second moment divided by ``correction``, its root, and eps in its place."""
    match rule.eps_placement:
        case "outside":
            return np.sqrt(second / correction) + rule.eps
        case "inside":
            return np.sqrt(second / correction + rule.eps)
        case "before correction":
            return (np.sqrt(second) + rule.eps) / np.sqrt(correction)
        case "inside, before correction":
            return np.sqrt((second + rule.eps) / correction)


def _moments(rule: Rule, gradient: np.ndarray, slots: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    zero = np.zeros_like(gradient)
    first = rule.betas[0] * slots.get("exp_avg", zero) + (1 - rule.betas[0]) * gradient
    second = rule.betas[1] * slots.get("exp_avg_sq", zero) + (1 - rule.betas[1]) * gradient**2
    slots |= {"exp_avg": first, "exp_avg_sq": second}
    return first, second


def _adam(rule: Rule, gradient: np.ndarray, slots: dict[str, np.ndarray], t: int, rate: float) -> np.ndarray:
    """With ``nesterov``, that of optax.nadam, which has no schedule of the momentum."""
    beta1, beta2 = rule.betas
    first, second = _moments(rule, gradient, slots)
    if rule.amsgrad:
        second = slots["max_exp_avg_sq"] = np.maximum(slots.get("max_exp_avg_sq", second), second)
    corrections = (1 - beta1**t, 1 - beta2**t) if rule.corrected else (1.0, 1.0)
    corrected = first / corrections[0]
    if rule.nesterov:
        corrected = beta1 * first / (1 - beta1 ** (t + 1)) + (1 - beta1) * gradient / corrections[0]
    return rate * corrected / _root(rule, second, corrections[1])


def _nadam(rule: Rule, gradient: np.ndarray, slots: dict[str, np.ndarray], t: int, rate: float) -> np.ndarray:
    beta1, beta2 = rule.betas
    first, second = _moments(rule, gradient, slots)
    mu, following = (beta1 * (1 - 0.5 * 0.96 ** (k * rule.momentum_decay)) for k in (t, t + 1))
    product = slots["mu_product"] = slots.get("mu_product", np.ones(())) * mu
    direction = (1 - mu) / (1 - product) * gradient + following / (1 - product * following) * first
    return rate * direction / _root(rule, second, 1 - beta2**t)


def _rmsprop(rule: Rule, gradient: np.ndarray, slots: dict[str, np.ndarray], t: int, rate: float) -> np.ndarray:
    alpha, zero = rule.betas[1], np.zeros_like(gradient)
    square = slots["square_avg"] = alpha * slots.get("square_avg", zero) + (1 - alpha) * gradient**2
    if rule.centered:
        mean = slots["grad_avg"] = alpha * slots.get("grad_avg", zero) + (1 - alpha) * gradient
        square = square - mean**2
    direction = gradient / _root(rule, square)
    if not rule.momentum:
        return rate * direction
    return _with_momentum(rule, direction, 1.0, slots, rate)


def _adagrad(rule: Rule, gradient: np.ndarray, slots: dict[str, np.ndarray], t: int, rate: float) -> np.ndarray:
    start = np.full_like(gradient, rule.initial_accumulator_value)
    total = slots["sum"] = slots.get("sum", start) + gradient**2
    return rate / (1 + (t - 1) * rule.lr_decay) * gradient / _root(rule, total)


_DIRECTIONS: Mapping[str, Callable[[Rule, np.ndarray, dict[str, np.ndarray], int, float], np.ndarray]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adam,
    "nadam": _nadam,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
}
"""By torch.optim's class, in lower case: the step that is taken off the parameters."""
