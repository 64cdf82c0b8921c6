"""From one step of gradient descent to momentum, by hand and as the optimizer has it, and where the two part."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn import course, optim
from jaxnn.lessons.tabular import problem

STEPS, DROP = 40, 10  # the learning rate falls to a tenth after step DROP
LEARNING_RATE, GAMMA = 0.01, 0.9
START = (-8.0, 6.0)


def surface(w: jax.Array) -> jax.Array:
    return (2 - w[0] - w[1]) ** 2 + (4 - 3 * w[0] - w[1]) ** 2


def by_hand(learning_rates: list[float]) -> jax.Array:
    """v = gamma v - lr g; w = w + v. The points passed, (steps + 1, 2)."""
    w = jnp.asarray(START)
    v = jnp.zeros(2)
    path = [w]
    for lr in learning_rates:
        v = GAMMA * v - lr * jax.grad(surface)(w)
        w = w + v
        path.append(w)
    return jnp.stack(path)


def by_optimizer(learning_rates: list[float]) -> jax.Array:
    """torch.optim.SGD's form: buffer = gamma buffer + g; w = w - lr buffer. The same points."""
    w = jnp.asarray(START)
    rates = jnp.asarray(learning_rates)
    optimizer = optim.sgd(lambda step: rates[step], momentum=GAMMA)  # optax.sgd has the same form
    state = optimizer.init(w)
    path = [w]
    for _ in learning_rates:
        updates, state = optimizer.update(jax.grad(surface)(w), state)
        w = jnp.asarray(optax.apply_updates(w, updates))
        path.append(w)
    return jnp.stack(path)


def run(*, seed: int) -> course.Lesson:
    # A point moved against its gradient.
    moved = jnp.asarray([10.0, 7.5]) - jnp.asarray([5.0, 5.0])

    # A step on a network's weights: with a small learning rate nothing seems to change.
    params, inputs, _, loss = problem(seed)
    gradients = jax.grad(loss)(params, inputs)
    w, dw = params["linear1"]["kernel"][...].T, gradients["linear1"]["kernel"][...].T
    changes = [jnp.abs(lr * dw).max() / jnp.abs(w).mean() for lr in (0.001, 10.0)]

    # Two forms of momentum, at one learning rate and at one that falls.
    constant = [LEARNING_RATE] * STEPS
    falling = [LEARNING_RATE] * DROP + [LEARNING_RATE / 10] * (STEPS - DROP)
    paths = {
        "by_hand": by_hand(constant),
        "optimizer": by_optimizer(constant),
        "by_hand_falling": by_hand(falling),
        "optimizer_falling": by_optimizer(falling),
    }

    # The optimizer on the network: three rounds of forward, backward, step.
    optimizer = optim.sgd(0.1, momentum=GAMMA)
    state = optimizer.init(params)
    rounds = []
    for _ in range(3):
        value, gradients = jax.value_and_grad(loss)(params, inputs)
        updates, state = optimizer.update(gradients, state)
        params: Any = optax.apply_updates(params, updates)
        rounds.append(value)

    numbers = {"moved": moved, "w": w[0, :10], "small": changes[0], "large": changes[1], "drop": DROP} | paths
    numbers |= {"losses": jnp.stack(rounds), "weights": params["linear1"]["kernel"][...].T[0, :10]}
    return course.lesson(numbers, {"sgd": "jaxnn.optim.sgd and optax.sgd"})
