"""Steps of training beside PyTorch's: the NNX model with its own gradients, its optimizer also with PyTorch's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxnn.interop.layout import INPUTS
from jaxnn.nn.interception import NO_BUFFER
from jaxnn.parity.batches import Batch
from jaxnn.parity.port.interception import sharing
from jaxnn.parity.port.objectives import Optimizer
from jaxnn.parity.port.port import Port
from jaxnn.parity.recording import Arrays, under

Step = Callable[[Arrays], Arrays]
"""PyTorch's arrays of the next step -> JAX's."""


def follow(port: Port, batches: list[Batch], optimizer: Optimizer) -> Step:
    """A function that takes one training step each time it is called with PyTorch's record of that step.

    It reads from that record the step's dropout masks and learning rate (for an optimizer that is jaxnn's), the names
    of the optimizer's state, and the gradients for the optimizer alone. Parameters without a gradient there stay.
    """
    state: Any = None  # (params, buffers, optimizer's state, params and state of the optimizer alone)
    number = 0
    compiled = jax.jit(_step_of(port, optimizer), donate_argnums=0)

    def step(theirs: Arrays) -> Arrays:
        nonlocal state, number
        if state is None:
            params, buffers = jax.tree.map(jnp.array, (port.params, port.buffers))
            state = (params, buffers, optimizer.init(params), jax.tree.map(jnp.array, params), optimizer.init(params))
        inputs, targets = batches[number % len(batches)]
        number += 1
        masks = under(theirs, "mask")
        scalars = {k: jnp.asarray(v, jnp.result_type(float)) for k, v in optimizer.scalars(number, theirs).items()}
        given = port.gradients_in_nnx(under(theirs, "gradient"))
        arguments = (jnp.asarray(port.activations.to_nnx(inputs, INPUTS)), jnp.asarray(targets))
        state, seen = compiled(state, *arguments, [masks[str(i)] for i in range(len(masks))], given, scalars)
        arrays = {key: np.asarray(value) for key, value in jax.device_get(seen).items()}
        return {key: value for key, value in arrays.items() if key.removeprefix("given/") in theirs}

    return step


def _step_of(port: Port, optimizer: Optimizer) -> Callable[..., Any]:
    def forward(params: Any, buffers: Any, x: Array, targets: Array, masks: list[Array]) -> tuple[Array, Any]:
        model = port.merged(params, buffers)
        with sharing(port.masks(masks)):
            outputs = model(x)
        return port.loss(outputs, targets), nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Any(nnx.Param, NO_BUFFER))))

    def step(state: Any, x: Array, targets: Array, masks: list[Array], given: Any, scalars: Any) -> Any:
        params, buffers, optimizing, alone, optimizing_alone = state
        (loss, buffers), gradients = jax.value_and_grad(forward, has_aux=True)(params, buffers, x, targets, masks)
        trained = jax.tree.map(lambda g: g is not None, given, is_leaf=lambda g: g is None)
        gradients = jax.tree.map(lambda g, t: g if t else jnp.zeros_like(g), gradients, trained)
        known = jax.tree.map(lambda p, g: jnp.zeros_like(p) if g is None else jnp.asarray(g, p.dtype), alone, given)

        def moved(gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
            updates, state = optimizer.update(gradients, state, params, scalars)
            return jax.tree.map(lambda p, u, t: p + u if t else p, params, updates, trained), state

        params, optimizing = moved(gradients, optimizing, params)
        alone, optimizing_alone = moved(known, optimizing_alone, alone)
        seen = {"loss": loss}
        seen |= {f"gradient/{key}": value for key, value in port.in_torch(gradients).items()}
        seen |= {f"parameter/{key}": value for key, value in port.in_torch(params).items()}
        seen |= {f"buffer/{key}": value for key, value in port.in_torch({}, buffers).items()}
        seen |= {f"given/parameter/{key}": value for key, value in port.in_torch(alone).items()}
        for prefix, held in (("", optimizing), ("given/", optimizing_alone)):
            for slot, tree in optimizer.slots(held, params).items():
                seen |= {f"{prefix}state/{key}/{slot}": value for key, value in port.slot_in_torch(tree).items()}
        return (params, buffers, optimizing, alone, optimizing_alone), seen

    return step
