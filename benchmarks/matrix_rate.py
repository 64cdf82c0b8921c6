"""The rate of large square matrix products, to which a training step's rate is compared."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

_REPEATS = 7
_SIZES = {"cpu": (512, 1024, 2048), "accelerator": (2048, 4096, 8192)}


def measure(framework: str, precision: str) -> float:
    """The best operations a second over sizes and repeats, in the number format of ``precision``'s products."""
    multiply = {"jax": _jax, "torch": _torch}[framework](precision)
    return max(_rate(multiply, size) for size in _SIZES["cpu" if multiply.on_cpu else "accelerator"])


class _Multiply:
    def __init__(self, place: Callable[[np.ndarray], Any], product: Callable[[Any, Any], Any], *, on_cpu: bool) -> None:
        self.place, self.product, self.on_cpu = place, product, on_cpu


def _rate(multiply: _Multiply, size: int) -> float:
    random = np.random.default_rng(0)
    left, right = (multiply.place(random.normal(size=(size, size))) for _ in range(2))
    multiply.product(left, right)
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        multiply.product(left, right)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def _jax(precision: str) -> _Multiply:
    import jax
    import jax.numpy as jnp

    product = jax.jit(jnp.matmul)
    return _Multiply(
        lambda array: jnp.asarray(array, precision),
        lambda left, right: jax.block_until_ready(product(left, right)),
        on_cpu=jax.default_backend() == "cpu",
    )


def _torch(precision: str) -> _Multiply:
    import torch

    from torchref.precision import device

    from .rivals.torch_backend import wait

    def product(left: Any, right: Any) -> None:
        torch.matmul(left, right)
        wait(device())

    return _Multiply(
        lambda array: torch.tensor(array, dtype=getattr(torch, precision), device=device()),
        product,
        on_cpu=device().type == "cpu",
    )
