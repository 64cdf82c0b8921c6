"""The product of small batches: what ``x @ kernel`` computes and is differentiated to, in every mode."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.nn import product as module
from jaxnn.nn.product import product

MODES = {
    "value": lambda f, x, k: f(x, k),
    "gradients": lambda f, x, k: jax.grad(lambda x, k: (f(x, k) ** 3).sum(), (0, 1))(x, k),
    "gradient of the kernel alone": lambda f, x, k: jax.grad(lambda k: (f(x, k) ** 3).sum())(k),
    "gradient of the input alone": lambda f, x, k: jax.grad(lambda x: (f(x, k) ** 3).sum())(x),
    "forward mode": lambda f, x, k: jax.jvp(f, (x, k), (x + 1, k - 1)),
    "second derivatives": lambda f, x, k: jax.hessian(lambda x, k: (f(x, k) ** 3).sum(), (0, 1))(x, k),
    "many kernels": lambda f, x, k: jax.vmap(jax.grad(lambda k: (f(x, k) ** 3).sum()))(jnp.stack([k, 2 * k])),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [1, 5, 17])
def test_it_is_the_matrix_product(batch: int, mode: str) -> None:
    random = np.random.default_rng(0)
    x, kernel = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((batch, 4), (4, 3)))
    compute: Callable[..., Any] = MODES[mode]
    ours, plain = (
        jax.tree.leaves(jax.jit(lambda x, k, f=f: compute(f, x, k))(x, kernel)) for f in (product, jnp.matmul)
    )
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5 * float(jnp.abs(theirs).max()))


def test_a_wrong_derivative_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_transposed", lambda x: 1.001 * x.T)
    with pytest.raises(AssertionError):
        test_it_is_the_matrix_product(6, "gradients")
