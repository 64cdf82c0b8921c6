"""The floating-point types of a run."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.recipe import Precision


class Dtypes(NamedTuple):
    """``param``: weights, optimizer state, losses; ``compute``: activations and matrix products."""

    param: type
    compute: type


DTYPES: dict[Precision, Dtypes] = {
    "float32": Dtypes(jnp.float32, jnp.float32),
    "bfloat16": Dtypes(jnp.float32, jnp.bfloat16),
    "float64": Dtypes(jnp.float64, jnp.float64),
}


def flags() -> dict[str, Any]:
    """JAX's switches that decide the precision of a computation."""
    config: Any = jax.config  # its attributes are made at run time
    return {name: getattr(config, name) for name in ("jax_enable_x64", "jax_default_matmul_precision")}


@contextlib.contextmanager
def activate(precision: Precision) -> Iterator[Dtypes]:
    """Makes JAX compute as ``precision`` says: 64-bit types on for float64, and no silent TF32 or bfloat16 passes."""
    before = flags()
    jax.config.update("jax_enable_x64", precision == "float64")
    jax.config.update("jax_default_matmul_precision", None if precision == "bfloat16" else "highest")
    try:
        yield DTYPES[precision]
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
