"""What the JAX side of a comparison minimises, and how: a loss and an optimizer, by name or the user's own."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxnn import losses, optim
from jaxnn.errors import UserError
from jaxnn.interop.layout import OUTPUTS, Activations
from jaxnn.optim import definitions
from jaxnn.optim.rule import rule as make_rule
from jaxnn.parity.recording import Arrays

Loss = Callable[[Any, Any], Any]

_LOSSES = ("nll_loss", "cross_entropy", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div") + (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
)
_OPTIMIZERS = ("sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad")


def resolve_loss(loss: str | tuple[Any, Loss], activations: Activations) -> Loss:
    """A scalar of the NNX model's outputs and of targets in PyTorch's layout.

    A name is a loss of torch.nn.functional as jaxnn.losses has it. A pair (torch, jax) gives its second the outputs
    as they are, and targets that are images channels last. Raises UserError for a name that jaxnn does not have.
    """
    if not isinstance(loss, str):
        own = loss[1]
        return lambda outputs, targets: own(
            outputs, activations.to_nnx(targets, OUTPUTS) if targets.ndim > 2 else targets
        )
    if loss not in _LOSSES:
        close = difflib.get_close_matches(loss, _LOSSES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(_LOSSES)}"
        raise UserError(f"jaxnn.losses has no {loss!r}; {hint} Or give a pair (torch, jax) of functions")
    function = getattr(losses, loss)

    def value(outputs: Array, targets: Array) -> Array:
        if outputs.ndim > 2 and jnp.issubdtype(targets.dtype, jnp.integer):
            # A class for each pixel: (batch, *spatial, classes) -> (pixels, classes)
            return function(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))
        return function(activations.to_torch(outputs, OUTPUTS), targets)

    return value


class Optimizer(NamedTuple):
    """``update(gradients, state, params, scalars)``: what to add to the parameters, and the new state.

    ``scalars(step, row)``: the host's numbers for a step (from 1), of which ``row`` is PyTorch's record.
    ``slots(state, params)``: the state by torch.optim's names, each a tree like the parameters.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, Mapping[str, Any]], tuple[Any, Any]]
    scalars: Callable[[int, Arrays], dict[str, np.ndarray]]
    slots: Callable[[Any, Any], dict[str, Any]]


def resolve_optimizer(own: Any | None, described: dict[str, Any]) -> Optimizer:
    """The user's optax transformation (or nnx.Optimizer), else jaxnn's of the kind and options of PyTorch's.

    Raises UserError if PyTorch's has no counterpart in jaxnn.
    """
    if own is not None:
        chain: Any = getattr(own, "tx", own)
        return Optimizer(
            chain.init, lambda g, state, params, _: chain.update(g, state, params), lambda step, row: {}, _optax_slots
        )
    name = described["name"]
    if name not in _OPTIMIZERS or "groups" in described:
        what = f"{described['groups']} groups of parameters" if "groups" in described else name
        raise UserError(f"jaxnn.optim has no counterpart of PyTorch's {what}; give jax_optimizer, an optax one")
    define = getattr(definitions, name)
    options = _options(definitions.adam) - {"decoupled"} if name == "adamw" else _options(define)
    given = {key: described[key] for key in options if key in described}
    definition = define(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})
    rule = make_rule(definition)

    def scalars(step: int, row: Arrays) -> dict[str, np.ndarray]:
        hyperparameters = {"learning_rate": np.reshape(row["learning_rate"], 1)}
        if definition.momentum is not None and "momentum" in row:
            hyperparameters["momentum"] = np.reshape(row["momentum"], 1)
        return {key: value[0] for key, value in rule.scalars(step - 1, hyperparameters).items()}

    return Optimizer(rule.init, rule.update, scalars, lambda state, params: state.slots)


def _options(define: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(define).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


_OPTAX_NAMES = {
    "trace": ("momentum_buffer",),
    "mu": ("exp_avg", "grad_avg"),
    "nu": ("exp_avg_sq", "square_avg"),
    "sum_of_squares": ("sum",),
}


def _optax_slots(state: Any, params: Any) -> dict[str, Any]:
    """What is like the parameters in an optax state, under the names that torch.optim may have for it."""
    structure = jax.tree.structure(params)
    found: dict[str, Any] = {}

    def visit(node: Any) -> None:
        if isinstance(node, optim.State):
            found.update(node.slots)
        elif hasattr(node, "_fields"):
            for field in node._fields:
                value = getattr(node, field)
                if field in _OPTAX_NAMES and jax.tree.structure(value) == structure:
                    found.update(dict.fromkeys(_OPTAX_NAMES[field], value))
                else:
                    visit(value)
        elif isinstance(node, tuple | list):
            for child in node:
                visit(child)

    visit(state)
    return found
