"""(2 - w1 - w2)^2 + (4 - 3 w1 - w2)^2: a loss of two weights and two examples, and three ways down to its minimum."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxnn import course
from jaxnn.torch_random import TorchGenerator

STEPS, START = 120, (-9.0, 7.0)
LEARNING_RATE, GAMMA = 0.01, 0.9


def errors(w: jax.Array) -> jax.Array:
    """Of the two examples (1, 1) -> 2 and (3, 1) -> 4."""
    return jnp.stack([2 - w[0] - w[1], 4 - 3 * w[0] - w[1]])


def loss(w: jax.Array) -> jax.Array:
    return (errors(w) ** 2).sum(axis=0)


def loss_of_example(w: jax.Array, number: int) -> jax.Array:
    return errors(w)[number] ** 2


def descend(gradient: Callable[[jax.Array, int], jax.Array], gamma: float = 0.0) -> jax.Array:
    """The points passed by v = gamma v - lr gradient(w, step); w = w + v: (steps + 1, 2)."""
    w = jnp.asarray(START)
    v = jnp.zeros(2)
    path = [w]
    for step in range(STEPS):
        v = gamma * v - LEARNING_RATE * gradient(w, step)
        w = w + v
        path.append(w)
    return jnp.stack(path)


def run(*, seed: int) -> course.Lesson:
    picked = TorchGenerator(seed).randint(0, 2, STEPS)  # a batch of one of the two examples; doubled, right on average
    whole = jax.jit(jax.grad(loss))
    of_example = jax.jit(jax.grad(loss_of_example))
    paths = {
        "gd": descend(lambda w, step: whole(w)),
        "momentum": descend(lambda w, step: whole(w), GAMMA),
        "minibatch": descend(lambda w, step: 2 * of_example(w, picked[step])),
    }
    numbers = {f"{name}_path": path for name, path in paths.items()}
    numbers |= {f"{name}_losses": loss(path.T) for name, path in paths.items()}

    axis = jnp.linspace(-10.0, 10.0, 81)
    numbers |= {"axis": axis, "surface": loss(jnp.stack(jnp.meshgrid(axis, axis)))}
    origin = jnp.zeros(2)
    numbers |= {"minimum": jnp.linalg.solve(-jax.jacobian(errors)(origin), errors(origin))}  # both errors are 0
    numbers |= {"curvatures": jnp.linalg.eigvalsh(jax.hessian(loss)(origin))}
    return course.lesson(numbers, {"hessian": "jax.hessian"})
