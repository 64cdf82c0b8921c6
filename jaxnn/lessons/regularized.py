"""The network of the lesson on files: BatchNorm and dropout, which act in two ways, and its training."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxnn import losses, optim
from jaxnn.nn import BatchNorm1d, Dropout, DropoutMask, Linear
from jaxnn.torch_random import TorchGenerator

WIDTH, RATE = 24, 0.5
optimizer = optim.sgd(0.1, momentum=0.9)


class Net(nnx.Module):
    """784-24-10: fc1, norm, ReLU, dropout, fc2."""

    def __init__(self, rngs: TorchGenerator) -> None:
        self.fc1 = Linear(784, WIDTH, rngs=rngs, param_dtype=jnp.float64)
        self.norm = BatchNorm1d(WIDTH, param_dtype=jnp.float64)
        self.dropout = Dropout(RATE)
        self.fc2 = Linear(WIDTH, 10, rngs=rngs, param_dtype=jnp.float64)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(self.dropout(jax.nn.relu(self.norm(self.fc1(x)))))


class State(NamedTuple):
    """All that training changes, trees of arrays; ``buffers`` are BatchNorm's running statistics."""

    params: Any
    buffers: Any
    momentum: Any


def initial_state(net: Net) -> State:
    _, params, _, buffers = nnx.split(net, nnx.Param, DropoutMask, ...)
    params = nnx.to_pure_dict(params)
    return State(params, nnx.to_pure_dict(buffers), optimizer.init(params))


def definition(net: Net) -> Any:
    """The network without its arrays, in the mode that it is in."""
    return nnx.split(net, nnx.Param, DropoutMask, ...)[0]


@partial(jax.jit, static_argnums=0)
def forward(
    definition: Any, params: Any, buffers: Any, x: jax.Array, mask: jax.Array | np.ndarray | None = None
) -> tuple[jax.Array, Any]:
    """Outputs (batch, 10) of ``x`` (batch, 784), and the buffers after it.

    In training dropout keeps what ``mask`` (batch, 24) says; in evaluation it needs none.
    """
    masks = {"dropout": {"mask": jnp.zeros((0,), bool) if mask is None else mask}}
    net = nnx.merge(definition, params, masks, buffers)
    return net(x), nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))


@partial(jax.jit, static_argnums=0)
def step(
    definition: Any, state: State, x: jax.Array, y: jax.Array, mask: jax.Array | np.ndarray
) -> tuple[State, jax.Array]:
    """The state after a step on one batch, and the loss before it."""

    def loss(params: Any) -> tuple[jax.Array, Any]:
        outputs, buffers = forward(definition, params, state.buffers, x, mask)
        return losses.cross_entropy(outputs, y), buffers

    (value, buffers), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
    updates, momentum = optimizer.update(gradients, state.momentum, state.params)
    return State(optax.apply_updates(state.params, updates), buffers, momentum), value
