"""IDX files: what is written is read, and every fault is named."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jaxnn.data import idx, load
from jaxnn.errors import UserError

CLASSES = tuple("0123456789")
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def unzipped(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("form", ["gzipped", "plain", "plain named .gz", "gzipped without ending", "dots", "both"])
def test_reads_what_was_written(tmp_path, write_idx, form):
    arrays = write_idx(tmp_path)
    for path in list(tmp_path.iterdir()):
        if form in ("plain", "plain named .gz"):
            path.write_bytes(unzipped(path))
        if form in ("plain", "gzipped without ending"):
            path.rename(path.with_suffix(""))
        if form == "dots":
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
        if form == "both":
            path.with_suffix("").write_bytes(unzipped(path))
            path.write_bytes(b"not read, for the plain file comes first")
    dataset = idx.read_folder(tmp_path, name="mnist", classes=CLASSES)
    np.testing.assert_array_equal(dataset.train.inputs[..., 0], arrays[IMAGES])
    np.testing.assert_array_equal(dataset.test.labels, arrays["t10k-labels-idx1-ubyte.gz"])
    assert dataset.train.inputs.dtype == np.uint8 and dataset.train.labels.dtype == np.int32
    assert not dataset.train.inputs.flags.writeable


def with_header(magic: int, *sizes: int) -> bytes:
    return struct.pack(f">I{len(sizes)}I", magic, *sizes)


FAULTS = {
    "truncated gzip": (IMAGES, lambda raw, gz: gz[: len(gz) // 2], "damaged .gz"),
    "corrupt gzip": (IMAGES, lambda raw, gz: gz[:-8] + b"\0\0\0\0" + gz[-4:], "damaged .gz"),
    "magic of labels": (IMAGES, lambda raw, gz: with_header(0x801, 20, 28, 28) + raw[16:], "IDX magic 0x00000801"),
    "magic of floats": (LABELS, lambda raw, gz: with_header(0xD01, 20) + raw[8:], "IDX magic 0x00000d01"),
    "text": (LABELS, lambda raw, gz: b"<html>404", "IDX magic 0x3c68746d"),
    "cut header": (IMAGES, lambda raw, gz: raw[:9], "cut short"),
    "no bytes": (LABELS, lambda raw, gz: b"", "cut short"),
    "claims more": (IMAGES, lambda raw, gz: with_header(0x803, 21, 28, 28) + raw[16:], "claims 16464 bytes"),
    "claims far more": (IMAGES, lambda raw, gz: with_header(0x803, 2**31, 2**15, 2**15) + raw[16:], "cut short"),
    "claims far more, gzipped": (IMAGES, lambda raw, gz: gzip.compress(with_header(0x803, 2**31, 999, 9)), "cut short"),
    "claims fewer": (IMAGES, lambda raw, gz: gzip.compress(with_header(0x803, 19, 28, 28) + raw[16:]), "but more"),
    "fewer labels": (LABELS, lambda raw, gz: with_header(0x801, 19) + raw[8:-1], "19 labels"),
    "label outside": (LABELS, lambda raw, gz: raw[:10] + b"\x0a" + raw[11:], "label 10 of example 2"),
    "empty": (IMAGES, lambda raw, gz: with_header(0x803, 0, 28, 28), "has 0 images"),
    "missing": (LABELS, None, "lacks train-labels-idx1-ubyte"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(tmp_path, write_idx, fault):
    write_idx(tmp_path / "mnist")
    file, damage, sentence = FAULTS[fault]
    path = tmp_path / "mnist" / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(unzipped(path), path.read_bytes()))
    with pytest.raises(UserError) as caught:
        load("mnist", data_dir=tmp_path)
    assert sentence in str(caught.value)
    assert (file in str(caught.value)) or damage is None


def test_an_empty_set_is_refused(tmp_path, write_idx):
    write_idx(tmp_path)
    (tmp_path / IMAGES).write_bytes(with_header(0x803, 0, 28, 28))
    (tmp_path / LABELS).write_bytes(with_header(0x801, 0))
    with pytest.raises(UserError, match=f"{IMAGES} is empty"):
        idx.read_folder(tmp_path, name="mnist", classes=CLASSES)


def test_a_gzip_bomb_is_not_unpacked(tmp_path, write_idx):
    """100 MB of zeros in 0.4 MB, behind a header that claims 20 images."""
    write_idx(tmp_path)
    (tmp_path / IMAGES).write_bytes(gzip.compress(with_header(0x803, 20, 28, 28) + bytes(100_000_000), 1))
    tracemalloc.start()
    with pytest.raises(UserError, match="but more follow"):
        idx.read(tmp_path / IMAGES, axes=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_path_of_its_own_gets_its_classes_from_its_labels(tmp_path, write_idx):
    write_idx(tmp_path / "letters")
    assert load(str(tmp_path / "letters")).classes == load(str(tmp_path / "letters" / IMAGES)).classes
    assert load(str(tmp_path / "letters")).name == "letters"


def test_md5_is_that_of_the_unpacked_file(tmp_path, write_idx):
    import hashlib

    arrays = write_idx(tmp_path)
    for file, array in arrays.items():
        assert idx.md5(array) == hashlib.md5(unzipped(tmp_path / file)).hexdigest()


@pytest.mark.skipif("JAXNN_TEST_DATA" not in os.environ, reason="JAXNN_TEST_DATA does not name a folder with MNIST")
def test_the_real_mnist():
    dataset = load("mnist", data_dir=os.environ["JAXNN_TEST_DATA"])
    assert idx.md5(dataset.train.inputs[..., 0]) == "6bbc9ace898e44ae57da46a324031adb"
    assert idx.md5(dataset.test.labels.astype(np.uint8)) == "27ae3e4e09519cfbb04c329615203637"
