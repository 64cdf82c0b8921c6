"""What is taken without a copy, and that a split's values are the same wherever it lives."""

import jax
import numpy as np
import pytest

from jaxnn import precision
from jaxnn.data import Split, aligned
from jaxnn.placement import Resident, Streamed
from jaxnn.recipe import Input

LABELS = np.arange(20, dtype=np.int32)
EXAMPLES = np.array([[3, 0, 19], [7, 7, 1]], np.int32)
DTYPES = precision.DTYPES["float32"]


def images(*, offset: int = 0, read_only: bool = True) -> np.ndarray:
    """Noise that starts ``offset`` bytes behind an aligned address."""
    memory = aligned.empty((20 * 8 * 8 + offset,))
    array = memory[offset:].reshape(20, 8, 8, 1)
    array[...] = np.random.default_rng(0).integers(0, 256, array.shape)
    return aligned.frozen(array) if read_only else array


CASES = {
    "aligned and read-only": (images(), True),
    "with an axis of one added": (images()[..., 0][..., None], True),
    "writable": (images(read_only=False), False),
    "not aligned": (images(offset=16), False),
}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have memory of their own")
@pytest.mark.parametrize("case", CASES)
def test_takes_memory_that_nobody_can_change(case):
    array, shares = CASES[case]
    (placed, *_), _ = Resident([Split(array, LABELS)], Input(size=8), DTYPES).each_step(EXAMPLES)
    assert (placed.unsafe_buffer_pointer() == array.ctypes.data) == shares
    np.testing.assert_array_equal(placed, array)


@pytest.mark.parametrize("kind", [Resident, Streamed])
def test_each_step_finds_its_examples(kind):
    array = images()
    split = Split(array, LABELS)
    placed = kind([split] if kind is Resident else split, Input(size=8), DTYPES)
    positions = placed.positions(EXAMPLES)
    for number, (step, examples) in enumerate(zip(placed.each_step(EXAMPLES), EXAMPLES, strict=True)):
        inputs, labels = step.of(None if positions is None else positions[number])
        np.testing.assert_array_equal(inputs, array[examples])
        np.testing.assert_array_equal(labels, LABELS[examples])
