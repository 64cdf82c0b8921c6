"""Images that stay on disk, in a folder or packed: the arrays that are read into memory, and every fault named."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import Dataset, load, packing, prepare
from jaxnn.errors import UserError
from jaxnn.limits import LARGEST_MEMBER
from jaxnn.recipe import Input


def noise(width: int, height: int, *, grey: bool) -> bytes:
    stream, random = io.BytesIO(), np.random.default_rng((width, height))
    pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels[..., 0] if grey else pixels).save(stream, "PNG")
    return stream.getvalue()


def pictures(*, lead: str = "", grey: int = 0, sizes: int = 1) -> dict[str, bytes]:
    """10 of each of two classes; ``grey``: of so many one, from the first on."""
    return {
        f"{lead}{label}/{n}.png": noise(9 + n % sizes, 7, grey=bool(grey) and n % grey == 0)
        for label in ("cat", "dog")
        for n in range(10)
    }


FOLDERS = {
    "no test split": pictures(),
    "train and val": pictures(lead="train/") | pictures(lead="val/"),
    "a leading folder, all grey": pictures(lead="pets/", grey=1),
    "grey and RGB": pictures(grey=2),
    "many sizes": pictures(grey=2, sizes=4),
}
INPUTS = [None, Input(size=8), Input(size=12, channels=1, fit="pad"), Input(size=5, channels=3)]


def loaded(path: Path, input: Input | None, **options: Any) -> Dataset:
    dataset = load(str(path), input=input, **options)
    return dataset if input is None else prepare(dataset, input)


@pytest.mark.parametrize("folder", FOLDERS)
def test_disk_holds_what_memory_holds(tmp_path: Path, write_files: Callable[..., Path], folder: str) -> None:
    path = write_files(tmp_path / "pets", FOLDERS[folder])
    as_files, as_pixels = tmp_path / "files", tmp_path / "pixels"
    packing.pack(load(str(path), memory_limit=0), as_files)
    packing.pack(loaded(path, Input(size=6), memory_limit=0), as_pixels, shard_bytes=300)
    assert_same(loaded(as_pixels, None), loaded(path, Input(size=6)), "pixels")
    for input in INPUTS:
        if folder == "many sizes" and input is None:
            with pytest.raises(UserError, match="bring all images to one size, or use --image-size N"):
                np.asarray(load(str(path), memory_limit=0).train.inputs)
            with pytest.raises(UserError, match="differ in size; use --image-size N"):
                load(str(as_files))
            continue
        expected = loaded(path, input)
        assert_same(loaded(path, input, memory_limit=0), expected, f"folder, {input}")
        assert_same(loaded(as_files, input), expected, f"files, {input}")


def assert_same(found: Dataset, expected: Dataset, name: str) -> None:
    assert (found.name, found.classes) == ("pets", expected.classes)
    for part in ("train", "test"):
        here, there = getattr(found, part), getattr(expected, part)
        assert not isinstance(here.inputs, np.ndarray), f"{name} is in memory"
        assert here.inputs.shape == there.inputs.shape and here.inputs.nbytes == there.inputs.nbytes, name
        assert len(here) == len(there) and here.labels.dtype == np.int32
        np.testing.assert_array_equal(here.labels, there.labels, err_msg=name)
        np.testing.assert_array_equal(np.asarray(here.inputs), there.inputs, err_msg=name)
        rows = np.random.default_rng(0).permutation(len(there))
        for key in (rows, rows[:3], slice(1, 4), 2):
            np.testing.assert_array_equal(here.inputs[key], there.inputs[key], err_msg=name)
    assert found._of_values == expected.fingerprint, name


def test_what_is_in_memory_is_packed_too(tmp_path: Path) -> None:
    digits = load("digits")
    facts = packing.pack(digits, tmp_path / "packed", shard_bytes=2**19)
    assert len(facts.train.shards) == 3
    packed = load(str(tmp_path / "packed"))
    assert packed._of_values == digits.fingerprint and packed.name == "digits"


@pytest.fixture
def packed(tmp_path: Path, write_files: Callable[..., Path]) -> Path:
    path = write_files(tmp_path / "pets", pictures())
    packing.pack(load(str(path), memory_limit=0), tmp_path / "packed", shard_bytes=1500)
    return tmp_path / "packed"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[min(len(data) // 2, 200)] ^= 1
    path.write_bytes(data)


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _facts(*keys: Any, value: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        facts = json.loads(path.read_text())
        place = facts
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path.write_text(json.dumps(facts))

    return change


def _write_shard(path: Path, record: bytes) -> None:
    """As many records as there were, all of them ``record``, brotli-packed."""
    from array_record.python.array_record_module import ArrayRecordWriter

    facts = json.loads((path.parent / "jaxnn-dataset.json").read_text())
    shard = next(each for each in facts["train"]["shards"] if each["name"] == path.name)
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for _ in range(shard["examples"]):
        writer.write(record)
    writer.close()
    shard["bytes"] = path.stat().st_size
    (path.parent / "jaxnn-dataset.json").write_text(json.dumps(facts))


SHARD, FACTS, LABELS = "train-00001.array_record", "jaxnn-dataset.json", "train-labels.int32"
FAULTS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "shard cut short": (SHARD, _cut, "bytes where"),
    "shard missing": (SHARD, Path.unlink, "is missing"),
    "shard of zeros": (SHARD, _zero, "is damaged: it has 0 records instead of"),
    "a bit of a shard": (SHARD, _flip, "is damaged"),
    "another shard": (SHARD, lambda p: p.write_bytes((p.parent / "train-00002.array_record").read_bytes()), ""),
    "labels missing": (LABELS, Path.unlink, "is missing"),
    "labels cut short": (LABELS, _cut, "bytes where"),
    "no such class": (LABELS, lambda p: p.write_bytes(b"\7" * p.stat().st_size), "labels outside the classes 0 to 1"),
    "other labels": (LABELS, _zero, "is of another class than the file of labels says"),
    "facts cut short": (FACTS, _cut, "is damaged"),
    "facts nested": (FACTS, lambda p: p.write_bytes(b"[" * 10**5), "is damaged"),
    "facts endless": (FACTS, lambda p: p.write_bytes(b" " * 2**21), "too large"),
    "too many examples": (FACTS, _facts("train", "labels", "examples", value=2**30), "do not add up"),
    "another name": (
        FACTS,
        _facts("train", "labels", "name", value="../../etc/passwd"),
        "is damaged: train.labels.name",
    ),
    "negative count": (
        FACTS,
        _facts("train", "shards", 0, "examples", value=-1),
        "is damaged: train.shards.0.examples",
    ),
    "huge pixels": (
        FACTS,
        lambda p: (_facts("records", value="pixels")(p), _facts("size", value=[60000, 60000])(p))[0],
        "is too small for its",
    ),  # fmt: skip  # noqa: E501
    "a class twice": (FACTS, _facts("classes", value=["cat", "cat"]), "a class twice"),
    "a packed record that becomes much": (
        SHARD,
        lambda p: _write_shard(p, b"\0\0\0\0" + bytes(LARGEST_MEMBER + 1)),
        f"record 0 has {LARGEST_MEMBER + 5} bytes instead of at most {LARGEST_MEMBER + 4}",
    ),
    "files called pixels": (FACTS, _facts("records", value="pixels"), "bytes instead of"),
    "an unknown field": (FACTS, _facts("pickle", value="x"), "is damaged: pickle"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_packed_set_is_named(packed: Path, fault: str) -> None:
    file, change, sentence = FAULTS[fault]
    change(packed / file)
    with pytest.raises(UserError) as caught:
        dataset = load(str(packed))
        np.asarray(dataset.train.inputs)
    assert sentence in str(caught.value) and str(packed) in str(caught.value)


def _rename(folder: Path) -> None:
    (folder / "cat/3.png").rename(folder / "cat/33.png")


def _move(folder: Path) -> None:
    (folder / "cat/3.png").rename(folder / "dog/3b.png")


CHANGES: dict[str, Callable[[Path], Any]] = {
    "another name": _rename,
    "another class": _move,
    "another size": lambda folder: (folder / "cat/3.png").write_bytes(noise(9, 7, grey=True)),
    "a byte": lambda folder: _flip(folder / "cat/3.png"),
    "one more": lambda folder: (folder / "cat/99.png").write_bytes(noise(9, 7, grey=False)),
    "one fewer": lambda folder: (folder / "cat/3.png").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_of_a_folder_notices(tmp_path: Path, write_files: Callable[..., Path], change: str) -> None:
    path = write_files(tmp_path / "pets", pictures())
    before = load(str(path), memory_limit=0).fingerprint
    assert load(str(path), memory_limit=0).fingerprint == before
    CHANGES[change](path)
    assert load(str(path), memory_limit=0).fingerprint != before


def test_what_is_known_of_a_run_s_data_on_disk_and_in_memory(tmp_path: Path, write_files: Callable[..., Path]) -> None:
    path = write_files(tmp_path / "pets", pictures())
    in_memory, on_disk = load(str(path)), load(str(path), memory_limit=0)
    in_memory.require_same(in_memory.fingerprint, "run")
    on_disk.require_same(on_disk.fingerprint, "run")
    on_disk.require_same(in_memory.fingerprint, "run")  # all images are read
    with pytest.raises(UserError, match="add --memory-limit 0"):
        in_memory.require_same(on_disk.fingerprint, "run")
    (path / "cat/3.png").write_bytes(noise(9, 7, grey=True))
    for before in (in_memory.fingerprint, on_disk.fingerprint):
        with pytest.raises(UserError, match="data set pets has changed since run began"):
            load(str(path), memory_limit=0).require_same(before, "run")


def test_a_packed_set_appears_whole_or_not_at_all(tmp_path: Path, write_files: Callable[..., Path]) -> None:
    path = write_files(tmp_path / "pets", pictures() | {"dog/9.png": b"no image"})

    def refused(dataset: Dataset, sentence: str, folder: str = "packed", **options: Any) -> None:
        before = sorted(tmp_path.iterdir())
        with pytest.raises((UserError, KeyboardInterrupt), match=sentence):
            packing.pack(dataset, tmp_path / folder, **options)
        assert sorted(tmp_path.iterdir()) == before

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt("stop")

    refused(load(str(path), memory_limit=0), "dog/9.png is a broken image")
    refused(load("digits"), "stop", progress=interrupt)
    refused(load("iris"), "iris is a table")
    refused(load("digits"), "exists already", "pets")
    refused(load("digits"), "there is no folder", "none/packed")
