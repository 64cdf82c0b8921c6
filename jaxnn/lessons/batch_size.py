"""Full batch, mini-batches and single examples: how each walks to the minimum, and how many steps an epoch has."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import course, data
from jaxnn.torch_random import TorchGenerator

LEARNING_RATE, EPOCHS = 0.5, 15
BATCH_SIZES = {"full": None, "mini": 32, "single": 1}


@jax.jit
def loss(w: jax.Array, X: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross-entropy of a logistic regression with two weights: X (batch, 2), y (batch,) of 0 and 1."""
    z = X @ w
    return (jnp.logaddexp(0.0, z) - y * z).mean()


@jax.jit
def descend(w: jax.Array, X: jax.Array, y: jax.Array) -> jax.Array:
    return w - LEARNING_RATE * jax.grad(loss)(w, X, y)


def run(*, seed: int) -> course.Lesson:
    # Tumors by the mean radius and the mean texture of their cells, standardized.
    train = data.load("breast-cancer").train
    X = train.inputs[:, :2].astype(np.float64)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = train.labels.astype(np.float64)
    m = len(y)

    numbers = {"examples": m, "epochs": EPOCHS}
    for name, batch_size in BATCH_SIZES.items():
        batch_size = batch_size or m
        generator = TorchGenerator(seed)
        w = jnp.asarray([2.0, 2.0])
        path = [w]
        for _ in range(EPOCHS):
            order = generator.epoch_order(m, shuffle=True)
            for start in range(0, m, batch_size):
                batch = order[start : start + batch_size]
                w = descend(w, X[batch], y[batch])
                path.append(w)
        path = jnp.asarray(np.stack(path))  # jnp.stack would compile a program of thousands of arrays
        numbers |= {f"{name}_size": batch_size, f"{name}_steps": math.ceil(m / batch_size), f"{name}_path": path}
        numbers |= {f"{name}_losses": jax.vmap(loss, in_axes=(0, None, None))(path, X, y)}

    # The loss all around, for the picture.
    w1, w2 = jnp.linspace(-9.0, 3.0, 81), jnp.linspace(-5.0, 3.0, 71)
    over_w1 = jax.vmap(lambda a, b: loss(jnp.stack([a, b]), X, y), in_axes=(0, None))
    numbers |= {"w1": w1, "w2": w2, "around": jax.vmap(over_w1, in_axes=(None, 0))(w1, w2)}
    return course.lesson(numbers, {"batches": "an array of example numbers, cut into pieces"})
