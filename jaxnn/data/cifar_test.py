"""The official CIFAR-10 archives in all their forms, and a pickle that tries to run code."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxnn.data import load
from jaxnn.data.named import NAMED
from jaxnn.errors import UserError

CLASSES = NAMED["cifar10"].classes
BINARY, PYTHON = "cifar-10-batches-bin/data_batch_3.bin", "cifar-10-batches-py/data_batch_3"


def expected(files: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Training images and labels, put together from the binary records one pixel plane after the other."""
    records = [np.frombuffer(files[f"cifar-10-batches-bin/data_batch_{i}.bin"], np.uint8) for i in range(1, 6)]
    rows = np.concatenate(records).reshape(-1, 3073)
    planes = [rows[:, 1 + 1024 * c : 1025 + 1024 * c].reshape(-1, 32, 32) for c in range(3)]
    return np.stack(planes, axis=-1), rows[:, 0]


@pytest.mark.parametrize("kind", ["binary", "python", "python 2"])
@pytest.mark.parametrize("place", ["cifar-10.tar.gz", "cifar10.tar", "", "cifar10", "cifar-10-batches-x"])
def test_reads_every_form(tmp_path, cifar_batches, write_files, kind, place):
    files = cifar_batches(kind)
    if place.startswith("cifar-10-batches") or place == "":  # the files themselves, without the archive's folder
        files = {Path(name).name: data for name, data in files.items()}
    write_files(tmp_path / "data" / place, files)
    dataset = load("cifar10", data_dir=tmp_path / "data")
    inputs, labels = expected(cifar_batches("binary"))
    np.testing.assert_array_equal(dataset.train.inputs, inputs)
    np.testing.assert_array_equal(dataset.train.labels, labels)
    assert len(dataset.test) == 4 and dataset.classes == CLASSES


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def pickled(**changes) -> bytes:
    batch = {b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 3]}
    return pickle.dumps(batch | {name.encode(): value for name, value in changes.items()}, protocol=2)


FAULTS = {
    "cut record": (BINARY, lambda data: data[:-1], "cut short"),
    "no record": (BINARY, lambda data: b"", "cut short"),
    "label outside": (BINARY, lambda data: b"\x0a" + data[1:], "label 10 of example 0"),
    "missing": (BINARY, None, "lacks data_batch_3.bin"),
    "missing pickle": (PYTHON, None, "lacks data_batch_3"),
    "runs code": (PYTHON, lambda data: pickle.dumps({b"data": Evil()}), "asks to run posix.mkdir"),
    "reads a global": (PYTHON, lambda data: b"cbuiltins\neval\n(S'1'\ntR.", "asks to run builtins.eval"),
    "cut pickle": (PYTHON, lambda data: data[:100], "damaged"),
    "no dict": (PYTHON, lambda data: pickle.dumps([1]), "damaged"),
    "fewer labels": (PYTHON, lambda data: pickled(labels=[1]), "damaged"),
    "negative label": (PYTHON, lambda data: pickled(labels=[0, -1, 2, 3]), "label -1 of example 1"),
    "floats": (PYTHON, lambda data: pickled(data=np.zeros((4, 3072), np.float32)), "damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(tmp_path, monkeypatch, cifar_batches, write_files, fault):
    monkeypatch.chdir(tmp_path)
    file, damage, sentence = FAULTS[fault]
    files = cifar_batches("binary" if file == BINARY else "python")
    data = files.pop(file)
    if damage is not None:
        files[file] = damage(data)
    write_files(tmp_path / "cifar10.tar", files)
    with pytest.raises(UserError) as caught:
        load("cifar10", data_dir=tmp_path)
    assert sentence in str(caught.value) and "data_batch_3" in str(caught.value)
    assert not Path("evil").exists()
