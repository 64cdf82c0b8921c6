"""What an optimizer is here: the arithmetic of one leaf, the scalars of one step, and two ways to run them.

torch.optim computes a step's scalars (bias corrections, step sizes) in Python's float64, whatever the
parameters' dtype. A ``Rule`` keeps that: the training loop computes them on the host and passes them
into the compiled step. ``transformation`` computes the same formulas inside the step, for optax.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

Scalars = Mapping[str, Any]
BiasCorrection = Callable[[float, Any], Any]


class State(NamedTuple):
    """Steps taken, and torch's state by torch's names; a slot is a tree like the parameters."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]  (a tuple's count is not used)
    slots: dict[str, Any]


_COUNTERS = {"mu_product"}  # slots that follow from the number of steps alone


def unless_skipped(finite: Array, new: State, old: State) -> State:
    """``new`` if the step was ``finite``; else a state that has counted it and keeps its moments."""
    slots = {
        name: slot if name in _COUNTERS else jax.tree.map(lambda a, b: jnp.where(finite, a, b), slot, old.slots[name])
        for name, slot in new.slots.items()
    }
    return new._replace(slots=slots)


class Definition(NamedTuple):
    """One optimizer of torch.optim with its options.

    ``slots``: name -> initial value for a parameter. ``scalars(t, hyperparameters, bias_correction)``: the
    values of step t, counted from 1. ``leaf(gradient, slots, scalars)``: what to add to a parameter, and its
    new slots. ``momentum``: the hyperparameter "momentum" (Adam's family: beta1) while no schedule sets it,
    None without one.
    """

    slots: Mapping[str, Callable[[Array], Array]]
    scalars: Callable[[Any, Scalars, BiasCorrection], dict[str, Any]]
    leaf: Callable[[Array, Mapping[str, Array], Scalars], tuple[Array, dict[str, Array]]]
    momentum: float | None = None
    weight_decay: float = 0.0
    decoupled: bool = False
    maximize: bool = False


class Rule(NamedTuple):
    """An optimizer whose scalars come from the host.

    ``scalars(first_step, hyperparameters)``: float64 arrays for the steps after the first ``first_step``
    ones, from the arrays "learning_rate" and, if a schedule cycles it, "momentum" (Adam's family: beta1).
    ``update(gradients, state, params, scalars)``: what to add to the parameters, and the new state, given
    the scalars of one step.
    """

    init: Callable[[Any], State]
    update: Callable[[Any, State, Any, Scalars], tuple[Any, State]]
    scalars: Callable[[int, Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def rule(definition: Definition) -> Rule:
    """The rule that runs ``definition``."""

    def init(params: Any) -> State:
        slots = {name: jax.tree.map(start, params) for name, start in definition.slots.items()}
        return State(jnp.zeros((), jnp.int32), slots)

    def update(gradients: Any, state: State, params: Any, scalars: Scalars) -> tuple[Any, State]:
        leaves, structure = jax.tree.flatten(gradients)
        old = {name: jax.tree.leaves(slot) for name, slot in state.slots.items()}
        steps = [
            _step_leaf(definition, gradient, param, {name: column[i] for name, column in old.items()}, scalars)
            for i, (gradient, param) in enumerate(zip(leaves, jax.tree.leaves(params), strict=True))
        ]
        slots = {
            name: jax.tree.structure(slot).unflatten([new[name] for _, new in steps])
            for name, slot in state.slots.items()
        }
        return structure.unflatten([change for change, _ in steps]), State(state.count + 1, slots)

    def scalars(first_step: int, hyperparameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if "momentum" in hyperparameters and definition.momentum is None:
            raise ValueError("this rule has no momentum to cycle: build it from the schedule's own `optimizer`")
        steps = hyperparameters["learning_rate"].shape
        t = np.arange(first_step + 1, first_step + 1 + steps[0], dtype=np.float64)
        values = _scalars(definition, t, hyperparameters, lambda beta, t: 1 - beta**t)
        return {name: np.broadcast_to(np.asarray(value, np.float64), steps) for name, value in values.items()}

    return Rule(init, update, scalars)


def transformation(
    definition: Definition, learning_rate: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """``definition`` for optax and nnx.Optimizer; a schedule maps the count of earlier steps to a value."""
    hosted = rule(definition)

    def init(params: Any) -> State:
        return hosted.init(params)

    def update(updates: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, State]:
        if params is None:
            if definition.weight_decay:
                raise ValueError("weight_decay needs the parameters: call update(gradients, state, params)")
            params = updates
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        t = jnp.asarray(state.count + 1, float)
        scalars = _scalars(definition, t, {"learning_rate": rate}, _traced_bias_correction)
        return hosted.update(updates, state, params, scalars)

    return optax.GradientTransformationExtraArgs(init, update)


def _scalars(definition: Definition, t: Any, hyperparameters: Scalars, bias_correction: BiasCorrection) -> Scalars:
    values = definition.scalars(t, {"momentum": definition.momentum, **hyperparameters}, bias_correction)
    if definition.decoupled and definition.weight_decay:
        values["keep"] = 1 - hyperparameters["learning_rate"] * definition.weight_decay
    return values


def _step_leaf(
    definition: Definition, gradient: Array, param: Array, slots: Mapping[str, Array], scalars: Scalars
) -> tuple[Array, dict[str, Array]]:
    scalars = {name: jnp.asarray(value, param.dtype) for name, value in scalars.items()}
    if definition.maximize:
        gradient = -gradient
    if definition.weight_decay and not definition.decoupled:
        gradient = gradient + definition.weight_decay * param
    change, slots = definition.leaf(gradient, slots, scalars)
    if "keep" in scalars:
        # torch rounds 1 - lr * decay to the parameter's dtype; the subtraction of 1 is exact after that.
        change = change + (scalars["keep"] - 1) * param
    return change, slots


def _traced_bias_correction(beta: float, t: Any) -> Array:
    # 1 - beta**t would lose five digits in float32.
    return -jnp.expm1(t * (math.log(beta) if beta else -math.inf))
