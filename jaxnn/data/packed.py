"""Packed sets: images in sharded ArrayRecord files, read row by row. ``packing`` writes them.

A folder of
- ``jaxnn-dataset.json``: what ``Facts`` says;
- ``{train,test}-labels.int32``: the class number of each example, 4 bytes each, little-endian, in order;
- ``{train,test}-NNNNN.array_record``: a record an example, in order, ``group_size:1``: the label again as 4 bytes, so
  that a shard of other data shows, then pixels (height, width, channels) or the bytes of a PNG, JPEG, BMP or WEBP file.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import pydantic
from jaxtyping import Int, Int32

from jaxnn import limits
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.decoding import Images, as_batch, decode
from jaxnn.data.shards import Shards
from jaxnn.data.stored import Stored
from jaxnn.errors import UserError

FACTS = "jaxnn-dataset.json"
LABEL_BYTES = 4
_LARGEST = 2**20  # bytes of FACTS, per shard and class some hundred
_Count = Annotated[int, pydantic.Field(gt=0, lt=2**31)]
_Side = Annotated[int, pydantic.Field(gt=0, lt=2**16)]
_Digest = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class File:
    """A file of the set: its size and sha256 when it was packed; ``examples``: how many it holds."""

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    examples: _Count
    bytes: Annotated[int, pydantic.Field(gt=0, lt=2**50)]
    sha256: _Digest


@dataclass(frozen=True)
class Part:
    """A split."""

    labels: File
    shards: Annotated[tuple[File, ...], pydantic.Field(min_length=1)]


@dataclass(frozen=True)
class Facts:
    """What the JSON file holds. ``records`` says what follows the label; of files ``size`` is None if it differs."""

    format: Literal["jaxnn images 1"]
    name: str
    classes: Annotated[tuple[str, ...], pydantic.Field(min_length=2)]
    records: Literal["pixels", "files"]
    size: tuple[_Side, _Side] | None  # height, width
    channels: Literal[1, 3]
    train: Part
    test: Part


FACTS_JSON = pydantic.TypeAdapter(Facts)


def is_packed(path: Path) -> bool:
    return (path / FACTS).is_file()


def read(folder: Path, *, sized: bool = False) -> Dataset:
    """The set, its images on disk. ``sized``: they will be fitted, and may differ in size.

    Raises UserError that names the file which is missing, damaged or of another size than it had when it was packed.
    The fingerprint covers what was packed (names, classes, sha256 of every file), which the sizes of the files and the
    checksums and labels in the records are held against; only ``verify`` reads all.
    """
    facts, text = _facts(folder)
    if facts.size is None and not sized:
        raise UserError(f"{folder} holds images that differ in size; use --image-size N")
    train, test = (_split(folder, facts, part) for part in (facts.train, facts.test))
    return Dataset(facts.name, train, test, facts.classes, str(folder), hashlib.sha256(text).hexdigest())


def verify(folder: Path) -> list[str]:
    """The files whose bytes are not those that were packed, each as a sentence."""
    facts, _ = _facts(folder)
    problems = []
    for file in (*facts.train.shards, facts.train.labels, *facts.test.shards, facts.test.labels):
        with (folder / file.name).open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                problems.append(f"{folder / file.name} is not what was packed; pack the set again")
    return problems


def _facts(folder: Path) -> tuple[Facts, bytes]:
    path = folder / FACTS
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError("it is too large")
        facts = FACTS_JSON.validate_json(text, strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path} is damaged: {at}: {first['msg']}; pack the set again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; pack the set again") from error
    if len(set(facts.classes)) < len(facts.classes):
        raise UserError(f"{path} is damaged: it has a class twice; pack the set again")
    if facts.records == "pixels" and facts.size is None:
        raise UserError(f"{path} is damaged: pixels have no size; pack the set again")
    return facts, text


def _split(folder: Path, facts: Facts, part: Part) -> Split:
    for file in (part.labels, *part.shards):
        _require(folder / file.name, file.bytes)
    if sum(shard.examples for shard in part.shards) != part.labels.examples:
        raise UserError(f"{folder / FACTS} is damaged: its shards do not add up to {part.labels.examples} examples")
    labels = _labels(folder / part.labels.name, part.labels.examples, len(facts.classes))
    record = LABEL_BYTES + limits.LARGEST_MEMBER
    if facts.size is not None and facts.records == "pixels":
        record = LABEL_BYTES + math.prod(facts.size) * facts.channels
        for shard in part.shards:
            if record * shard.examples > shard.bytes:  # before anything is allocated
                raise UserError(
                    f"{folder / FACTS} is damaged: {shard.name} is too small for its {shard.examples} images"
                )
    shards = Shards(
        [folder / shard.name for shard in part.shards], [shard.examples for shard in part.shards], largest=record
    )
    source = _Records(shards, labels, None if facts.records == "files" else (*cast("Any", facts.size), facts.channels))
    images = Stored(source, np.arange(len(labels)), facts.size or (0, 0), facts.channels)
    return Split(cast("Any", images), labels)


def _require(path: Path, size: int) -> None:
    if not path.is_file():
        raise UserError(f"{path} is missing; copy the whole folder, or pack the set again")
    held = path.stat().st_size
    if held != size:
        raise UserError(f"{path} has {held} bytes where {size} were packed; copy it again, or pack the set again")


def _labels(path: Path, examples: int, classes: int) -> Int32[np.ndarray, " examples"]:
    if path.stat().st_size != 4 * examples:
        raise UserError(f"{path} does not hold {examples} labels of 4 bytes; pack the set again")
    labels = np.fromfile(path, "<i4").astype(np.int32)
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{path} has labels outside the classes 0 to {classes - 1}; pack the set again")
    return labels


@dataclass(frozen=True, eq=False)
class _Records:
    """A ``Source``; ``shape`` (height, width, channels) of pixels, None of files."""

    shards: Shards
    labels: Int32[np.ndarray, " examples"]
    shape: tuple[int, int, int] | None

    def images(self, rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[str, Images]]:
        records = self.shards.read(rows)
        labels = np.frombuffer(b"".join(record[:LABEL_BYTES].ljust(LABEL_BYTES, b"\xff") for record in records), "<i4")
        if (wrong := labels != self.labels[rows]).any():
            where = self.shards.where(int(rows[wrong.argmax()]))
            raise UserError(f"{where} is of another class than the file of labels says; pack the set again")
        if self.shape is None:
            for row, record in zip(rows, records, strict=True):
                where = self.shards.where(row)
                yield where, as_batch(decode(record[LABEL_BYTES:], where))
            return
        size = LABEL_BYTES + math.prod(self.shape)
        lengths = np.fromiter(map(len, records), np.int64, len(records))
        if (wrong := lengths != size).any():
            where, held = self.shards.where(int(rows[wrong.argmax()])), lengths[wrong.argmax()]
            raise UserError(f"{where} has {held} bytes instead of {size}; pack the set again")
        pixels = np.frombuffer(b"".join(records), np.uint8).reshape(len(rows), size)[:, LABEL_BYTES:]
        yield self.shards.where(rows[0]), pixels.reshape(len(rows), *self.shape)
