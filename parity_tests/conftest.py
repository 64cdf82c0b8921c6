"""Parity runs in float64 unless a case says float32: `precision` sets both frameworks and puts them back."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest
import torch

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
    """The one comparison of these tests: the largest difference, as a share of the largest expected magnitude.

    NaN and infinities must stand in the same places; otherwise, or for other shapes, it is infinite.
    """

    def measure(ours: object, theirs: object) -> float:
        found, expected = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        finite = np.isfinite(expected)
        if found.shape != expected.shape or not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
            return np.inf
        if not finite.any():
            return 0.0
        difference = np.abs(found[finite] - expected[finite]).max()
        return float(difference / (np.abs(expected[finite]).max() or 1.0)) if np.isfinite(difference) else np.inf

    return measure
