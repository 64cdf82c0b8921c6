"""Small valid data sets for the tests of this room, which see no other data and no network."""

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

IDX_FILES = {
    "train-images-idx3-ubyte.gz": (0x803, (20, 28, 28)),
    "train-labels-idx1-ubyte.gz": (0x801, (20,)),
    "t10k-images-idx3-ubyte.gz": (0x803, (10, 28, 28)),
    "t10k-labels-idx1-ubyte.gz": (0x801, (10,)),
}


@pytest.fixture(autouse=True)
def no_data_but_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAXNN_DATA_DIR", raising=False)
    monkeypatch.setenv("JAXNN_CACHE_DIR", str(tmp_path / "no-cache-yet"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no-tfds-yet"))
    monkeypatch.setattr("jaxnn.data.search.SYSTEM_FOLDERS", ())
    monkeypatch.setattr("jaxnn.data.download.is_reachable", lambda url: url.startswith("http://127.0.0.1"))


def idx_bytes(magic: int, array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", magic, *array.shape) + array.tobytes()


@pytest.fixture
def write_idx() -> Callable[[Path], dict[str, np.ndarray]]:
    """Writes the four files into a folder and returns their arrays."""

    def write(folder: Path) -> dict[str, np.ndarray]:
        folder.mkdir(parents=True, exist_ok=True)
        random, arrays = np.random.default_rng(0), {}
        for name, (magic, shape) in IDX_FILES.items():
            high = 256 if len(shape) == 3 else 10
            arrays[name] = random.integers(0, high, shape).astype(np.uint8)
            (folder / name).write_bytes(gzip.compress(idx_bytes(magic, arrays[name])))
        return arrays

    return write


@pytest.fixture
def cifar_batches() -> Callable[[str], dict[str, bytes]]:
    """The official archive's files, of 4 images each: kind 'binary', 'python' or, as it is, 'python 2'."""

    def make(kind: str) -> dict[str, bytes]:
        random, files = np.random.default_rng(1), {}
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            pixels = random.integers(0, 256, (4, 3072)).astype(np.uint8)
            labels = random.integers(0, 10, 4).tolist()
            if kind == "binary":
                records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
                files[f"cifar-10-batches-bin/{name}.bin"] = records.tobytes()
            elif kind == "python 2":
                files[f"cifar-10-batches-py/{name}"] = _pickled_by_python_2(pixels, labels)
            else:
                batch = {b"data": pixels, b"labels": labels}
                files[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
        return files

    return make


def _pickled_by_python_2(pixels: np.ndarray, labels: list[int]) -> bytes:
    """As cPickle wrote the official batches: byte strings, some kept under numbers from 1 on, and the files' names."""

    def text(value: bytes, number: int) -> bytes:
        return b"U" + bytes([len(value)]) + value + b"r" + struct.pack("<I", number)

    shape = b"K\x01M" + struct.pack("<H", len(pixels)) + b"M\x00\x0c\x86"
    dtype = b"cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09("
    array += shape + dtype + b"\x89T" + struct.pack("<I", pixels.nbytes) + pixels.tobytes() + b"tb"
    names = b"".join(text(b"frog_s_%06d.png" % number, 20 + number) for number in range(len(labels)))
    return b"".join(
        [b"\x80\x02}q\x01(", text(b"batch_label", 2), text(b"training batch 1 of 5", 3), text(b"labels", 4), b"]q\x05("]
        + [b"K" + bytes([label]) for label in labels]
        + [b"e", text(b"data", 6), array, text(b"filenames", 13), b"]q\x0e(", names, b"eu."]
    )


@pytest.fixture
def image_files() -> Callable[..., dict[str, bytes]]:
    """{train,test}/{cat,dog}/N.png, 3 of each, 6x5 RGB; the first pixel tells split, class and number."""

    def make(*, size: tuple[int, int] = (6, 5), parts: tuple[str, ...] = ("train", "test")) -> dict[str, bytes]:
        files = {}
        for p, part in enumerate(parts):
            for c, label in enumerate(("cat", "dog")):
                for i in range(3):
                    files[str(Path(part, label, f"{i}.png"))] = png(100 * p + 10 * c + i, size)
        return files

    return make


def png(value: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, value if mode in ("L", "I;16") else (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def make_png() -> Callable[..., bytes]:
    return png


@pytest.fixture
def write_files() -> Callable[[Path, dict[str, bytes]], Path]:
    """Writes {name: bytes} into a folder, or into a tar if the path ends in .tar or .tar.gz; returns the path."""

    def write(path: Path, files: dict[str, bytes]) -> Path:
        if ".tar" in path.name:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
                for name, data in files.items():
                    info = tarfile.TarInfo(name.rstrip("/"))
                    info.size = len(data)
                    info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                    tar.addfile(info, io.BytesIO(data))
            return path
        for name, data in files.items():
            if name.endswith("/"):
                (path / name).mkdir(parents=True, exist_ok=True)
            else:
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_bytes(data)
        return path

    return write
