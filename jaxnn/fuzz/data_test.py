"""The readers of data sets and pictures, given anything."""

import gzip
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from jaxnn.data import cache, load, packing, pictures
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.packed import FACTS
from jaxnn.fuzz.damage import TEXTS, any_bytes, any_json
from jaxnn.fuzz.guard import Reader, hold_ten_thousand, property_of
from jaxnn.recipe import Input

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 4)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 0, 1], np.uint8)
INPUT = Input(size=8, channels=3)


@pytest.fixture(autouse=True)
def nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no-folder").touch()
    monkeypatch.setenv("JAXNN_CACHE_DIR", str(tmp_path / "no-folder"))


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


IDX = {"images-idx3-ubyte": _idx(PIXELS), "labels-idx1-ubyte": _idx(LABELS)}
IDX_CASES = st.tuples(
    st.sampled_from([f"{part}-{name}" for part in ("train", "t10k") for name in IDX]),
    st.one_of(
        *[any_bytes(data) for data in IDX.values()],
        *[any_bytes(data).map(gzip.compress) for data in IDX.values()],
        *[any_bytes(gzip.compress(data)) for data in IDX.values()],
    ),
)


def _read_idx(case: tuple[str, bytes], folder: Path) -> None:
    (folder / "mnist").mkdir(exist_ok=True)
    for part in ("train", "t10k"):
        for name, data in IDX.items():
            (folder / "mnist" / f"{part}-{name}").write_bytes(data)
    (folder / "mnist" / case[0]).write_bytes(case[1])
    load("mnist", data_dir=folder)


def _batch(protocol: int) -> bytes:
    return pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [3]}, protocol=protocol)


BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
CIFAR_CASES = st.tuples(st.just(".bin"), any_bytes(b"\3" + bytes(3072))) | st.tuples(
    st.just(""), any_bytes(_batch(2), _batch(4), _batch(0))
)


def _read_cifar(case: tuple[str, bytes], folder: Path) -> None:
    ending, damaged = case
    valid = _batch(2) if ending == "" else b"\3" + bytes(3072)
    with tarfile.open(folder / "cifar10.tar", "w") as tar:
        for name in BATCHES:
            data = damaged if name == "data_batch_3" else valid
            info = tarfile.TarInfo(f"cifar-10-batches/{name}{ending}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    load("cifar10", data_dir=folder)


def _picture(form: str, mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS.reshape(8, 12)).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    return exif


PICTURES = [
    _picture("PNG"),
    _picture("PNG", "P", transparency=0),
    _picture("PNG", "LA", exif=_exif(), icc_profile=bytes(200)),
    _picture("JPEG", exif=_exif(), progressive=True),
    _picture("BMP", "1"),
    _picture("BMP"),
    _picture("WEBP", "RGBA", lossless=True, exif=_exif()),
    _picture("WEBP", save_all=True, append_images=[Image.new("RGB", (12, 8))]),
]


def _read_picture(data: bytes, folder: Path) -> None:
    (folder / "picture.png").write_bytes(data)
    pictures.read([folder / "picture.png"], INPUT, shape=(8, 8, 3), trained_on="mnist")


def _tar(compression: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}", format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
        for label in ("cat", "dog"):
            for number in range(5):
                info = tarfile.TarInfo(f"train/{label}/{number}.png")
                info.size = len(PICTURES[0])
                tar.addfile(info, io.BytesIO(PICTURES[0]))
    return stream.getvalue()


MEMBER_TYPES = [bytes([kind]) for kind in range(256)]
MEMBERS = st.tuples(
    st.lists(st.sampled_from(["train", "test", "a", "b", "..", ".", "/", "x.png"]) | TEXTS, min_size=1, max_size=5),
    st.sampled_from([tarfile.REGTYPE] * 9 + MEMBER_TYPES),
    st.sampled_from([0, 1, 512, 2**28 + 1, 2**33 - 1, 2**62]) | st.none(),
    st.sampled_from(PICTURES) | st.binary(max_size=40),
    st.dictionaries(
        st.sampled_from(["path", "size", "linkpath", "GNU.sparse.realsize", "mtime", "é"]),
        TEXTS.filter(str.isprintable) | st.sampled_from(["-1", "-10240", "9" * 30, "a\nb.png", "train/\x1b[31m/1.png"]),
        max_size=2,
    ),
)
TARS = st.one_of(
    *[any_bytes(_tar(compression)) for compression in ("", "gz", "bz2", "xz")],
    st.lists(MEMBERS, max_size=4),
)  # fmt: skip


def _members(members: list[Any]) -> bytes:
    stream = io.BytesIO()
    for parts, kind, size, data, pax in members:
        info = tarfile.TarInfo("/".join(parts).encode(errors="replace").decode())
        info.type, info.size, info.pax_headers, info.linkname = kind, len(data), pax, "x"
        if size is not None:
            info.size = size
        stream.write(info.tobuf(tarfile.PAX_FORMAT, errors="replace") + data + bytes(-len(data) % 512))
    return stream.getvalue() + bytes(1024)


def _read_tar(case: bytes | list[Any], folder: Path) -> None:
    path = folder / "pets.tar"
    path.write_bytes(case if isinstance(case, bytes) else _members(case))
    load(str(path), input=INPUT)


ROWS = "".join(f"{i},{i / 4},{'yes' if i % 2 else 'no'}\n" for i in range(20))
CELLS = TEXTS | st.floats().map(str) | st.sampled_from(["yes", "no", "1_0", "٣", "nan", '"', "'", "0x1", "1" * 400])
TABLES = st.one_of(
    any_bytes(ROWS.encode(), b"age;dose;ill\n" + ROWS.replace(",", ";").encode()),
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=12).map(
        lambda rows: "\n".join(",".join(row) for row in rows).encode(errors="replace")
    ),
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=3).map(
        lambda rows: "".join(f"{a},{b}\n" * 12 for a, b in rows).encode(errors="replace")
    ),
)
TABLE_CASES = st.tuples(
    TABLES,
    st.none() | TEXTS | st.sampled_from(["ill", "0", "--1", "-" + "9" * 5000, "1" * 5000, "²"]),
    st.sampled_from(["auto", "yes", "no"]),
)


def _read_table(case: tuple[bytes, str | None, Any], folder: Path) -> None:
    (folder / "a.csv").write_bytes(case[0])
    load(str(folder / "a.csv"), label=case[1], header=case[2])


def _kept() -> bytes:
    import tempfile

    split = Split(PIXELS[..., None], LABELS.astype(np.int32))
    with tempfile.TemporaryDirectory() as folder:
        cache.write(Path(folder, "a.npz"), Dataset("a", split, split, ("0", "1"), "source"))
        return Path(folder, "a.npz").read_bytes()


def _read_kept(data: bytes, folder: Path) -> None:
    (folder / "a.npz").write_bytes(data)
    cache.read(folder / "a.npz")


def _read_prepared(data: bytes, folder: Path) -> None:
    from jaxnn.data import tfds_source
    from jaxnn.data.named import NAMED

    place = folder / "mnist" / NAMED["mnist"].version
    place.mkdir(parents=True, exist_ok=True)
    (place / "dataset_info.json").write_bytes(data)
    tfds_source.prepared(NAMED["mnist"], folder)


def _packed() -> dict[str, bytes]:
    """The files of a packed set of four 4x4 images, two of them in each split."""
    import tempfile

    split = Split(PIXELS[:2, ..., None], LABELS[:2].astype(np.int32))
    with tempfile.TemporaryDirectory() as folder:
        packing.pack(Dataset("a", split, split, ("0", "1"), "source"), Path(folder, "packed"))
        return {file.name: file.read_bytes() for file in Path(folder, "packed").iterdir()}


PACKED = _packed()
SHARD, PACKED_LABELS = "train-00000.array_record", "train-labels.int32"
PACKED_CASES = st.one_of(
    st.tuples(st.just(FACTS), any_json(json.loads(PACKED[FACTS]))),
    st.tuples(st.just(PACKED_LABELS), any_bytes(PACKED[PACKED_LABELS])),
    st.tuples(st.just(SHARD), any_bytes(PACKED[SHARD], PACKED[SHARD][: 2**16])),
)


def _read_packed(case: tuple[str, bytes], folder: Path) -> None:
    place, (name, damaged) = folder / "packed", case
    if not place.exists():
        place.mkdir()
        for file, data in PACKED.items():
            (place / file).write_bytes(data)
    facts = json.loads(PACKED[FACTS])
    if name != FACTS:  # else their size would give all damage away
        of = facts["train"]["labels"] if name == PACKED_LABELS else facts["train"]["shards"][0]
        of["bytes"] = max(len(damaged), 1)
        (place / FACTS).write_text(json.dumps(facts))
    (place / name).write_bytes(damaged)
    try:
        _read_all(place)
    finally:
        for file in {name, FACTS}:
            (place / file).write_bytes(PACKED[file])


def _read_all(place: Path) -> None:
    for input in (None, INPUT):
        dataset = load(str(place), input=input)
        for split in (dataset.train, dataset.test):
            np.asarray(split.inputs)


READERS = {
    "IDX": Reader(IDX_CASES, _read_idx, "mnist"),
    "CIFAR": Reader(CIFAR_CASES, _read_cifar, "cifar10.tar"),
    "picture": Reader(any_bytes(*PICTURES), _read_picture, "picture.png", mebibytes=2048),
    "tar": Reader(TARS, _read_tar, "pets.tar", mebibytes=2048),
    "CSV": Reader(TABLE_CASES, _read_table, "a.csv"),
    "kept arrays": Reader(any_bytes(_kept()), _read_kept, "a.npz"),
    "ArrayRecord": Reader(PACKED_CASES, _read_packed, "packed"),
    "TFDS": Reader(any_json({"fileFormat": "array_record", "name": "mnist"}), _read_prepared, "dataset_info.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_anything_is_read_or_refused(name: str, tmp_path: Path) -> None:
    property_of(READERS[name], tmp_path, examples=200)()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_cases(name: str, tmp_path: Path) -> None:
    hold_ten_thousand(READERS[name], tmp_path)
