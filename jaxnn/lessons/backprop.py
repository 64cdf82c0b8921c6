"""The chain rule by hand, from the loss back to the weights, against automatic derivatives."""

import jax
import jax.numpy as jnp

from jaxnn import course
from jaxnn.torch_random import TorchGenerator


def sigmoid(z: jax.Array) -> jax.Array:
    return 1 / (1 + jnp.exp(-z))


def binary_cross_entropy(sigma: jax.Array, y: jax.Array) -> jax.Array:
    return -(y * jnp.log(sigma) + (1 - y) * jnp.log(1 - sigma)).sum()


def run(*, seed: int) -> course.Lesson:
    generator = TorchGenerator(seed)
    X, w, w01, w12 = (jnp.asarray(generator.rand(shape), jnp.float64) - 0.5 for shape in ((4, 3), (3,), (3, 2), (2,)))
    y = jnp.asarray([0.0, 1.0, 1.0, 0.0])

    # One layer, forward: X (4, 3) -> z (4,) -> sigma (4,) -> loss.
    z = X @ w
    sigma = sigmoid(z)
    loss = binary_cross_entropy(sigma, y)

    # Backward: what the forward pass has computed is all that the derivatives need.
    dL_dsigma = (sigma - y) / (sigma * (1 - sigma))
    dsigma_dz = sigma * (1 - sigma)
    dz_dw = X
    dL_dw = dz_dw.T @ (dL_dsigma * dsigma_dz)
    short = X.T @ (sigma - y)  # the product of the first two is sigma - y
    automatic = jax.grad(lambda w: binary_cross_entropy(sigmoid(X @ w), y))(w)

    numbers = {"z": z, "sigma": sigma, "y": y, "loss": loss, "dL_dsigma": dL_dsigma, "dsigma_dz": dsigma_dz}
    numbers |= {"dL_dw": dL_dw, "short": short, "automatic_w": automatic}

    # Two layers, forward: X (4, 3) -> z1, sigma1 (4, 2) -> z2, sigma2 (4,) -> loss.
    z1 = X @ w01
    sigma1 = sigmoid(z1)
    z2 = sigma1 @ w12
    sigma2 = sigmoid(z2)
    loss2 = binary_cross_entropy(sigma2, y)

    # Backward: the output layer as before, with sigma1 as its input; then on through it to the first layer.
    dL_dz2 = sigma2 - y
    dL_dw12 = sigma1.T @ dL_dz2
    dL_dsigma1 = jnp.outer(dL_dz2, w12)
    dL_dz1 = dL_dsigma1 * sigma1 * (1 - sigma1)
    dL_dw01 = X.T @ dL_dz1
    automatic01, automatic12 = jax.grad(
        lambda w01, w12: binary_cross_entropy(sigmoid(sigmoid(X @ w01) @ w12), y), argnums=(0, 1)
    )(w01, w12)
    numbers |= {"z1": z1, "sigma1": sigma1, "z2": z2, "sigma2": sigma2, "loss2": loss2, "dL_dz2": dL_dz2}
    numbers |= {"dL_dw12": dL_dw12, "dL_dsigma1": dL_dsigma1, "dL_dz1": dL_dz1, "dL_dw01": dL_dw01}
    numbers |= {"automatic01": automatic01, "automatic12": automatic12}
    return course.lesson(numbers, {"automatic": "jax.grad"})
