"""The arithmetic of torch.optim's optimizers, in torch's order of operations (its ``_single_tensor_*``).

Option names and defaults are torch's. Products of scalars alone stay in ``scalars``, where torch too
computes them in float64.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxnn import recipe
from jaxnn.optim.rule import BiasCorrection, Definition, Rule, Scalars, rule

Slots = Mapping[str, Array]
Step = tuple[Array, dict[str, Array]]


def sgd(
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> Definition:
    """SGD; the first gradient enters the momentum buffer undamped."""

    def scalars(t: Any, hyperparameters: Scalars, bias_correction: BiasCorrection) -> dict[str, Any]:
        values = {"learning_rate": hyperparameters["learning_rate"]}
        if momentum:
            values["momentum"] = hyperparameters["momentum"]
            values["gradient_share"] = 1 - dampening * (t > 1).astype(float)
        return values

    def leaf(gradient: Array, slots: Slots, s: Scalars) -> Step:
        if not momentum:
            return -s["learning_rate"] * gradient, {}
        buffer = s["momentum"] * slots["momentum_buffer"] + s["gradient_share"] * gradient
        direction = gradient + s["momentum"] * buffer if nesterov else buffer
        return -s["learning_rate"] * direction, {"momentum_buffer": buffer}

    slots = {"momentum_buffer": jnp.zeros_like} if momentum else {}
    return Definition(slots, scalars, leaf, momentum or None, weight_decay, maximize=maximize)


def adam(
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled: bool = False,
) -> Definition:
    """Adam; ``amsgrad`` takes the maximum of the raw second moment and corrects its bias afterwards."""
    beta1, beta2 = betas

    def scalars(t: Any, hyperparameters: Scalars, bias_correction: BiasCorrection) -> dict[str, Any]:
        beta1 = hyperparameters["momentum"]
        return {
            "gradient_share": 1 - beta1,
            "step_size": hyperparameters["learning_rate"] / bias_correction(beta1, t),
            "root_scale": bias_correction(beta2, t) ** -0.5,
        }

    def leaf(gradient: Array, slots: Slots, s: Scalars) -> Step:
        exp_avg, exp_avg_sq = _moments(gradient, slots, s["gradient_share"], beta2)
        new = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        second = exp_avg_sq
        if amsgrad:
            second = new["max_exp_avg_sq"] = jnp.maximum(slots["max_exp_avg_sq"], exp_avg_sq)
        return -s["step_size"] * exp_avg / (jnp.sqrt(second) * s["root_scale"] + eps), new

    names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * amsgrad
    slots = dict.fromkeys(names, jnp.zeros_like)
    return Definition(slots, scalars, leaf, beta1, weight_decay, decoupled, maximize)


def adamw(*, weight_decay: float = 1e-2, **options: Any) -> Definition:
    """Adam with decoupled weight decay: parameters shrink by 1 - learning_rate * weight_decay."""
    return adam(weight_decay=weight_decay, decoupled=True, **options)


def nadam(
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    maximize: bool = False,
) -> Definition:
    """NAdam; the product of its momentum schedule is state, of the parameter's dtype."""
    beta1, beta2 = betas

    def scalars(t: Any, hyperparameters: Scalars, bias_correction: BiasCorrection) -> dict[str, Any]:
        rate, beta1 = hyperparameters["learning_rate"], hyperparameters["momentum"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        return {
            "gradient_share": 1 - beta1,
            "mu": mu,
            "mu_next": mu_next,
            "gradient_size": rate * (1 - mu),
            "moment_size": rate * mu_next,
            "square_scale": 1 / bias_correction(beta2, t),
        }

    def leaf(gradient: Array, slots: Slots, s: Scalars) -> Step:
        mu_product = slots["mu_product"] * s["mu"]
        exp_avg, exp_avg_sq = _moments(gradient, slots, s["gradient_share"], beta2)
        step = s["gradient_size"] / (1 - mu_product) * gradient
        step = step + s["moment_size"] / (1 - mu_product * s["mu_next"]) * exp_avg
        change = -step / (jnp.sqrt(exp_avg_sq * s["square_scale"]) + eps)
        return change, {"mu_product": mu_product, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    slots = {
        "mu_product": lambda param: jnp.ones((), param.dtype),
        "exp_avg": jnp.zeros_like,
        "exp_avg_sq": jnp.zeros_like,
    }
    return Definition(slots, scalars, leaf, beta1, weight_decay, maximize=maximize)


def rmsprop(
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> Definition:
    """RMSprop; eps outside the root, the learning rate outside the momentum buffer."""

    def scalars(t: Any, hyperparameters: Scalars, bias_correction: BiasCorrection) -> dict[str, Any]:
        values = {"learning_rate": hyperparameters["learning_rate"]}
        return values | ({"momentum": hyperparameters["momentum"]} if momentum else {})

    def leaf(gradient: Array, slots: Slots, s: Scalars) -> Step:
        square_avg = alpha * slots["square_avg"] + (1 - alpha) * gradient * gradient
        new = {"square_avg": square_avg}
        variance = square_avg
        if centered:
            mean = new["grad_avg"] = _lerp(slots["grad_avg"], gradient, 1 - alpha)
            variance = square_avg - mean * mean
        root = jnp.sqrt(variance) + eps
        if not momentum:
            return -s["learning_rate"] * gradient / root, new
        buffer = new["momentum_buffer"] = s["momentum"] * slots["momentum_buffer"] + gradient / root
        return -s["learning_rate"] * buffer, new

    names = ["square_avg"] + ["momentum_buffer"] * bool(momentum) + ["grad_avg"] * centered
    slots = dict.fromkeys(names, jnp.zeros_like)
    return Definition(slots, scalars, leaf, momentum or None, weight_decay, maximize=maximize)


def adagrad(
    *,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> Definition:
    """Adagrad; eps outside the root."""

    def scalars(t: Any, hyperparameters: Scalars, bias_correction: BiasCorrection) -> dict[str, Any]:
        return {"step_size": hyperparameters["learning_rate"] / (1 + (t - 1) * lr_decay)}

    def leaf(gradient: Array, slots: Slots, s: Scalars) -> Step:
        total = slots["sum"] + gradient * gradient
        return -s["step_size"] * gradient / (jnp.sqrt(total) + eps), {"sum": total}

    slots = {"sum": lambda param: jnp.full_like(param, initial_accumulator_value)}
    return Definition(slots, scalars, leaf, weight_decay=weight_decay, maximize=maximize)


def build(optimizer: recipe.Optimizer) -> Rule:
    """The rule of a recipe's optimizer (of ``Schedule.optimizer`` where a schedule may cycle its momentum)."""
    return rule(_DEFINITIONS[optimizer.name](**optimizer.options))


_DEFINITIONS = {"sgd": sgd, "adam": adam, "adamw": adamw, "nadam": nadam, "rmsprop": rmsprop, "adagrad": adagrad}


def _moments(gradient: Array, slots: Slots, gradient_share: Any, beta2: float) -> tuple[Array, Array]:
    exp_avg_sq = beta2 * slots["exp_avg_sq"] + (1 - beta2) * gradient * gradient
    return _lerp(slots["exp_avg"], gradient, gradient_share), exp_avg_sq


def _lerp(start: Array, end: Array, weight: Any) -> Array:
    return start + weight * (end - start)
