"""Parity runs in float64 unless a case says float32: `precision` sets both frameworks and puts them back."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest
import torch

from jaxnn.parity.verdict.tolerances import error

torch.set_num_threads(1)  # small work: threads that wait for each other cost more than they give


@pytest.fixture(autouse=True)
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """The dtype's name; a test chooses by ``parametrize("precision", [...], indirect=True)``."""
    chosen = getattr(request, "param", "float64")
    x64_before, dtype_before = jax.config.read("jax_enable_x64"), torch.get_default_dtype()
    jax.config.update("jax_enable_x64", chosen == "float64")
    torch.set_default_dtype(getattr(torch, chosen))
    yield chosen
    jax.config.update("jax_enable_x64", x64_before)
    torch.set_default_dtype(dtype_before)


@pytest.fixture
def largest_error() -> Callable[[object, object], float]:
    """The toolkit's own measure: the largest difference, as a share of the largest expected magnitude."""
    return lambda ours, theirs: error(np.asarray(ours), np.asarray(theirs))
