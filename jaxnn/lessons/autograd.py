"""Automatic derivatives: of a number, of a network's weights, of its inputs; and a backward pass taken twice."""

import jax
import jax.numpy as jnp

from jaxnn import course
from jaxnn.lessons.tabular import problem

WORDS = {
    "before": "none; JAX keeps no gradients in arrays, jax.grad makes a function that returns them",
    "constants": "jax.grad differentiates the arguments it is told to (argnums), so the labels have no gradient",
    "again": "jax.vjp returns a function that may be called as often as one likes, to the same gradient",
    "error": "none",
}


def run(*, seed: int) -> course.Lesson:
    # A function of one number.
    def square(x: jax.Array) -> jax.Array:
        return x**2

    slope = jax.grad(square)(jnp.asarray(1.0))

    # A network's loss is a function as well: of its weights, which are leaves of a tree, and of its inputs.
    params, inputs, _, loss = problem(seed)
    value, (gradients, input_gradient) = jax.value_and_grad(loss, argnums=(0, 1))(params, inputs)
    weight_gradient = gradients["linear1"]["kernel"][...].T  # jaxnn's kernels are (in, out), torch's weights (out, in)

    # The backward pass by itself: the forward pass keeps what it needs, and the pullback goes back.
    _, pullback = jax.vjp(loss, params, inputs)
    first, _ = pullback(jnp.asarray(1.0))
    second, _ = pullback(jnp.asarray(1.0))

    numbers = {
        "slope": slope,
        "loss": value,
        "shape": weight_gradient.shape,
        "weight_gradient": weight_gradient,
        "input_gradient": input_gradient,
        "first": first["linear1"]["kernel"][0, 0],
        "second": second["linear1"]["kernel"][0, 0],
    }
    return course.lesson(numbers, WORDS)
