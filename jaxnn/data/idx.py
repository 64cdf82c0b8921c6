"""IDX files, the format of MNIST: a big-endian header of sizes, then bytes; plain or gzipped."""

import gzip
import hashlib
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from jaxnn import limits
from jaxnn.data import aligned
from jaxnn.data.dataset import Dataset, Split
from jaxnn.errors import UserError

_MAGIC = {3: 0x00000803, 1: 0x00000801}  # images, labels: two zero bytes, the type uint8, the number of axes
_HOLDS = {3: "images", 1: "labels"}
_GZIP_MAGIC = b"\x1f\x8b"
_FILE_NAME = re.compile(r"(train|t10k|test)[-_.]?(images|labels)", re.IGNORECASE)


def has_files(folder: Path) -> bool:
    """Whether the folder holds at least one of the four files, by name."""
    return folder.is_dir() and any(_FILE_NAME.match(path.name) for path in folder.iterdir())


def read_folder(folder: Path, *, name: str, classes: tuple[str, ...] | None = None) -> Dataset:
    """The four files {train,t10k}-{images,labels}*; ``classes`` None: 0 to the largest training label.

    Raises UserError that names the file that is missing, damaged or does not fit the others.
    """
    train, test = (_read_split(folder, part) for part in ("train", "t10k"))
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise UserError(
            f"{folder}: training images are {_size(train)} and test images {_size(test)}; they must be of one size"
        )
    if classes is None:
        classes = tuple(map(str, range(int(train.labels.max()) + 1)))
    for part, split in (("train", train), ("t10k", test)):
        largest = int(split.labels.max())
        if largest >= len(classes):
            raise UserError(
                f"{_find(folder, part, 'labels')}: label {largest} of example {int(split.labels.argmax())} "
                f"is outside the classes 0 to {len(classes) - 1}; the file is damaged or of another data set"
            )
    return Dataset(name=name, train=train, test=test, classes=classes, source=str(folder))


def _size(split: Split) -> str:
    return f"{split.inputs.shape[1]}x{split.inputs.shape[2]}"


def _read_split(folder: Path, part: str) -> Split:
    images_file, labels_file = _find(folder, part, "images"), _find(folder, part, "labels")
    split = read_pair(images_file, labels_file)
    if len(split) == 0:
        raise UserError(f"{images_file} is empty: its header says 0 images; get the file again")
    return split


def read_pair(images_file: Path, labels_file: Path) -> Split:
    """Images (N, H, W, 1) and their N labels. Raises UserError that names the damaged file."""
    images, labels = read(images_file, axes=3), read(labels_file, axes=1)
    if len(images) != len(labels):
        raise UserError(
            f"{images_file} has {len(images)} images but {labels_file.name} has {len(labels)} labels; "
            "get both files from the same place"
        )
    return Split(images[..., None], labels.astype(np.int32))


def _find(folder: Path, part: str, holds: str) -> Path:
    """The file of that role; a plain one before a gzipped one."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix == ".gz", path.name)):
        match = _FILE_NAME.match(path.name)
        if match and path.is_file():
            is_train, kind = match[1].lower() == "train", match[2].lower()
            if is_train == (part == "train") and kind == holds:
                found.append(path)
    if not found:
        number = 3 if holds == "images" else 1
        raise UserError(f"{folder} lacks {part}-{holds}-idx{number}-ubyte[.gz]; all four IDX files must be there")
    return found[0]


def read(path: Path, *, axes: int) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of ``axes`` axes (3: images, 1: labels). Raises UserError that names the file."""
    compressed = is_gzip(path)
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            size = path.stat().st_size
            return _read(stream, path, axes=axes, most=limits.unpacked(size) if compressed else size)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is a damaged .gz file (cut short or corrupt); get it again") from error


def _read(stream: BinaryIO | gzip.GzipFile, path: Path, *, axes: int, most: int) -> UInt8[np.ndarray, "..."]:
    header = stream.read(4 + 4 * axes)
    magic = int.from_bytes(header[:4], "big")
    if len(header) >= 4 and magic != _MAGIC[axes]:
        raise UserError(
            f"{path} has IDX magic 0x{magic:08x} where {_HOLDS[axes]} have 0x{_MAGIC[axes]:08x}; "
            f"it is not an IDX file of {_HOLDS[axes]}"
        )
    if len(header) < 4 + 4 * axes:
        raise UserError(f"{path} is cut short: {len(header)} bytes are no IDX header; get the file again")
    shape = struct.unpack(f">{axes}I", header[4:])
    claimed = math.prod(shape)
    # Before anything is allocated: can a file of this size hold what its header claims?
    if claimed > most:
        raise UserError(f"{path} is cut short: its header claims {claimed} bytes of {_HOLDS[axes]}; get the file again")
    array = aligned.empty(shape)
    held = aligned.read_into(array, stream)
    if held < claimed or stream.read(1):
        follow = f"only {held}" if held < claimed else "more"
        raise UserError(f"{path}: the header claims {claimed} bytes but {follow} follow; get the file again")
    return aligned.frozen(array)


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def is_idx(path: Path) -> bool:
    """Whether the file starts as an IDX file of images or labels does, decompressed if need be."""
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            return int.from_bytes(stream.read(4), "big") in _MAGIC.values()
    except (gzip.BadGzipFile, zlib.error, EOFError):
        return False


def md5(array: UInt8[np.ndarray, "..."]) -> str:
    """The md5 of the unpacked IDX file that would hold the array (images without their axis of channels)."""
    digest = hashlib.md5(struct.pack(f">{1 + array.ndim}I", _MAGIC[array.ndim], *array.shape), usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
