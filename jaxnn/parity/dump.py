"""Recordings as files, so that the two sides can run in different processes, on different machines.

    DUMP/dump.json               layers, options, versions; size and SHA-256 of every other file
    DUMP/arrays.safetensors      the first pass
    DUMP/steps/000001.safetensors ...  the arrays of each step of training

A dump appears whole or not at all, and is read only if every checksum fits.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxnn.errors import UserError
from jaxnn.parity.recording import Arrays, Framework, Layer, Op, Recording

_FORMAT = 1
_INDEX, _ARRAYS = "dump.json", "arrays.safetensors"


def write(path: Path, recording: Recording, steps: Iterable[Arrays]) -> None:
    """Writes the folder ``path``; replaces a dump that is there. Raises UserError if something else is."""
    if path.exists() and not (path / _INDEX).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists and is no dump; name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        whole = Path(folder) / "dump"
        (whole / "steps").mkdir(parents=True)
        _save(whole / _ARRAYS, recording.arrays)
        for number, arrays in enumerate(steps, start=1):
            _save(whole / _step_name(number), arrays)
        files = sorted(file for file in whole.rglob("*") if file.is_file())
        index = {"format": _FORMAT} | _header(recording)
        index["files"] = {str(file.relative_to(whole).as_posix()): _fingerprint(file) for file in files}
        (whole / _INDEX).write_text(json.dumps(index, indent=1))
        if path.exists():
            shutil.rmtree(path)
        os.replace(whole, path)


def read(path: Path) -> tuple[Recording, Iterator[Arrays]]:
    """The recording in ``path`` and its steps, which are read one by one.

    Raises UserError for a folder that is no dump, is of another format, or has a missing or damaged file.
    """
    index_file = path / _INDEX
    if not index_file.is_file():
        raise UserError(f"{path} is not a dump: it has no {_INDEX}")
    try:
        index = _INDEX_OF.validate_json(index_file.read_bytes(), strict=True, extra="forbid")
    except ValueError as error:
        raise UserError(f"{index_file} is damaged: it is not what a capture writes; record it again") from error
    if index.format != _FORMAT:
        raise UserError(f"{index_file} has format {index.format}, and this version reads {_FORMAT}; record it again")
    if index.steps > len(index.files):
        raise UserError(f"{path} is not whole: {index.steps} steps are not there; record it again")
    arrays = _load(path, _ARRAYS, index.files)
    if not {"inputs", "targets"} <= arrays.keys():
        raise UserError(f"{path / _ARRAYS} lacks the batch; record it again")
    names = [_step_name(number) for number in range(1, index.steps + 1)]
    for name in names:
        _require_whole(path, name, index.files)
    fields = {name: getattr(index, name) for name in (*_FIELDS, "layers", "after", "notes")}
    return Recording(arrays=arrays, **fields), (_load(path, name, index.files) for name in names)


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What dump.json holds: a recording without its arrays."""

    format: int
    files: dict[str, str]
    framework: Framework
    precision: Literal["float32", "float64", "bfloat16"]
    train: bool
    loss: str
    optimizer: dict[str, Any]
    steps: pydantic.NonNegativeInt
    environment: dict[str, Any]
    failure: str
    layers: tuple[Layer, ...]
    after: tuple[Op, ...]
    notes: tuple[str, ...]


_INDEX_OF = pydantic.TypeAdapter(_Index)
_FIELDS = ("framework", "precision", "train", "loss", "optimizer", "steps", "environment", "failure")


def _header(recording: Recording) -> dict[str, Any]:
    return {
        **{name: getattr(recording, name) for name in _FIELDS},
        "layers": [dataclasses.asdict(layer) for layer in recording.layers],
        "after": [dataclasses.asdict(op) for op in recording.after],
        "notes": list(recording.notes),
    }


def _save(path: Path, arrays: Arrays) -> None:
    # safetensors writes the memory of an array as it lies, whatever its strides say
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)


def _load(path: Path, name: str, files: dict[str, str]) -> Arrays:
    _require_whole(path, name, files)
    try:
        return load_file(path / name)
    except (SafetensorError, ValueError, AttributeError, KeyError, TypeError) as error:  # some for types NumPy lacks
        raise UserError(f"{path / name} is damaged ({error}); record it again") from error


def _require_whole(path: Path, name: str, files: dict[str, str]) -> None:
    if name not in files or not (path / name).is_file():
        raise UserError(f"{path} is not whole: {name} is missing; record it again")
    if _fingerprint(path / name) != files[name]:
        raise UserError(f"{path / name} is damaged: its checksum is not the recorded one; record it again")


def _fingerprint(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _step_name(number: int) -> str:
    return f"steps/{number:06d}.safetensors"
