"""Images lie where JAX can take them without a copy, from whatever reader they come."""

import io

import numpy as np
import pytest

from jaxnn.data import aligned, load, prepare
from jaxnn.recipe import Input


@pytest.mark.parametrize("size", [1, 63, 64, 1000, 5_000_000])
def test_memory_starts_at_a_multiple_of_64_bytes(size):
    arrays = [aligned.empty((size, 1)) for _ in range(32)]
    assert all(array.ctypes.data % 64 == 0 and array.shape == (size, 1) for array in arrays)


@pytest.mark.parametrize("held", [0, 2**20, 3 * 2**20 - 1, 3 * 2**20, 3 * 2**20 + 1])
def test_reads_as_much_as_there_is(held):
    data = np.random.default_rng(0).bytes(held)
    array = aligned.empty((3, 2**20))
    expected = min(held, array.nbytes)
    assert aligned.read_into(array, io.BytesIO(data)) == expected
    assert array.tobytes()[:expected] == data[:expected]


@pytest.mark.parametrize("source", ["IDX", "CIFAR", "folder", "decoded before"])
@pytest.mark.parametrize(
    "input",
    [Input(size=32), Input(size=40, channels=3), Input(size=16, channels=3, fit="resize")],
    ids=["as they are", "padded", "resized"],
)
def test_readers_and_fitting_give_aligned_read_only_images(
    source, input, tmp_path, write_idx, cifar_batches, image_files, write_files
):
    folder = tmp_path / "set"
    if source == "IDX":
        write_idx(folder)
    else:
        write_files(folder, image_files(size=(32, 32)) if source == "folder" else cifar_batches("binary"))
    if source == "decoded before":
        load(str(folder))
    whole = load(str(folder))
    for dataset in (whole, prepare(whole, input)):
        for split in (dataset.train, dataset.test):
            assert split.inputs.ctypes.data % 64 == 0 and not split.inputs.flags.writeable
