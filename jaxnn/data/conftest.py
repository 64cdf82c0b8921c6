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
    """The official archive's files, of 4 images each: kind 'binary' or 'python'."""

    def make(kind: str) -> dict[str, bytes]:
        random, files = np.random.default_rng(1), {}
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            pixels = random.integers(0, 256, (4, 3072)).astype(np.uint8)
            labels = random.integers(0, 10, 4).tolist()
            if kind == "binary":
                records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
                files[f"cifar-10-batches-bin/{name}.bin"] = records.tobytes()
            else:
                batch = {b"data": pixels, b"labels": labels}
                files[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
        return files

    return make


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
