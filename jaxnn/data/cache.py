"""Decoded arrays kept as .npy (one .npz file a set), so that an archive is decoded once."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.lib.npyio import NpzFile

from jaxnn import limits
from jaxnn.data import aligned, tree
from jaxnn.data.dataset import Dataset, Split
from jaxnn.errors import UserError
from jaxnn.files import expanded

_FORMAT = 2


def folder() -> Path:
    """$JAXNN_CACHE_DIR, else $XDG_CACHE_HOME/jaxnn, else ~/.cache/jaxnn."""
    if own := os.environ.get("JAXNN_CACHE_DIR"):
        return expanded(own)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "jaxnn"


def named_file(name: str) -> Path:
    """Where a fetched set is kept."""
    return folder() / f"{name}.npz"


def cached(path: Path, build: Callable[[], Dataset], *, form: str = "") -> Dataset:
    """``build()``, or what it returned the last time if nothing in ``path`` has changed size or time since.

    ``form`` tells apart what is built in several ways from one path.
    """
    place = hashlib.sha256(os.fsencode(path.resolve()) + form.encode()).hexdigest()[:16]
    file, identity = folder() / "decoded" / f"{place}.npz", _identity(path)
    with contextlib.suppress(UserError):  # damaged: decoded anew
        dataset, of = read(file) if file.is_file() else (None, "")
        if dataset is not None and of == identity:
            return dataclasses.replace(dataset, source=str(path))
    dataset = build()
    write(file, dataset, identity=identity)
    return dataset


def _identity(path: Path) -> str:
    """Changes when a file or folder is added or removed, and when a file is resized or written."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    inside = tree.entries(path) if path.is_dir() else [tree.Entry(PurePosixPath(), False, bytes)]
    for entry in inside:
        stat = None if entry.is_folder else (path / entry.path).stat()
        state = (stat.st_size, stat.st_mtime_ns) if stat else ()
        digest.update(f"{entry.path}\0{state}\n".encode())
    return digest.hexdigest()


def write(file: Path, dataset: Dataset, *, identity: str = "") -> None:
    """Keeps the set, in one step; does nothing where the folder cannot be written, a cache being a convenience."""
    about = {
        "name": dataset.name,
        "classes": dataset.classes,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "identity": identity,
    }
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as stream:
            temporary = Path(stream.name)
            np.savez(
                stream,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                train_inputs=dataset.train.inputs,
                train_labels=dataset.train.labels,
                test_inputs=dataset.test.inputs,
                test_labels=dataset.test.labels,
            )
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError:
        if temporary:
            temporary.unlink(missing_ok=True)


def read(file: Path) -> tuple[Dataset, str]:
    """The set and its identity. Raises UserError that names the file if it is damaged (zip checks every byte)."""
    try:
        # Opened here, since np.load leaves a damaged file open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            assert arrays.zip is not None  # only once it is closed
            limits.require_stored(arrays.zip, file.stat().st_size)  # ``write`` packs nothing
            about = json.loads(arrays["about"].tobytes())
            train, test = (
                Split(_inputs(arrays, f"{part}_inputs"), arrays[f"{part}_labels"]) for part in ("train", "test")
            )
        dataset = Dataset(about["name"], train, test, tuple(about["classes"]), about["source"])
        return dataset, about["identity"]
    except Exception as error:  # a damaged zip fails in every way there is
        if isinstance(error, OSError) and error.filename:
            raise  # the system's: no permission, no such file
        raise UserError(f"{file} is damaged; delete it and try again") from error


def _inputs(arrays: NpzFile, name: str) -> np.ndarray:
    """The images ``arrays[name]`` in aligned memory."""
    assert arrays.zip is not None  # only once it is closed
    with arrays.zip.open(f"{name}.npy") as stream:
        np.lib.format.read_magic(stream)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        if by_columns or dtype != np.uint8 or math.prod(shape) > arrays.zip.getinfo(f"{name}.npy").file_size:
            raise ValueError
        array = aligned.empty(shape)
        if aligned.read_into(array, stream) < array.nbytes:
            raise EOFError
    return aligned.frozen(array)


def recorded_fingerprint(file: Path) -> str:
    """The fingerprint that the set had when it was written."""
    with np.load(file, allow_pickle=False) as arrays:
        return json.loads(arrays["about"].tobytes())["fingerprint"]
