"""What a run's environment.json says of how it began: on which data, and in which program."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
from pydantic_core import from_json

from jaxnn.mesh_shape import MeshShape
from jaxnn.scaling import Scaling


class TrainedOn(NamedTuple):
    """What a run knows of its data: ``input_shape`` (height, width, channels) or (features,) of a prepared example;
    ``scaling``: of standardized columns, if the run knows it."""

    name: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    examples: int
    scaling: Scaling | None


_Size = pydantic.PositiveInt


@dataclass(frozen=True)
class _DataRecord:
    """What is needed of ``Dataset.record``."""

    name: str
    classes: tuple[str, ...]
    input_shape: tuple[_Size] | tuple[_Size, _Size, _Size]  # of a table, of images
    train_examples: pydantic.NonNegativeInt
    test_examples: pydantic.NonNegativeInt
    fingerprint: str | None
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.scaling is not None and self.input_shape != (len(self.scaling.mean),):
            raise ValueError(f"the scaling of {len(self.scaling.mean)} columns, but inputs are {self.input_shape}")


@dataclass(frozen=True)
class _Environment:
    data: _DataRecord


# Pydantic's reader of JSON, unlike json's, refuses what is nested too deeply as it refuses all else.
_ENVIRONMENT = pydantic.TypeAdapter(_Environment)


def read(file: Path) -> dict[str, Any]:
    """Its content, "data" only if it can be relied on; empty if it is gone or unreadable."""
    try:
        text = file.read_bytes()
        found = from_json(text)
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    try:
        _ENVIRONMENT.validate_json(text, strict=True)
    except ValueError:
        found.pop("data", None)
    return found


def trained_on(found: dict[str, Any]) -> TrainedOn | None:
    """The data on which the run began; None if that is not known. ``found``: what ``read`` gives, here and below."""
    record = found.get("data")
    if record is None:
        return None
    scaling = record.get("scaling")
    if scaling is not None:
        scaling = Scaling(tuple(scaling["mean"]), tuple(scaling["std"]))
    classes, shape = tuple(record["classes"]), tuple(record["input_shape"])
    return TrainedOn(record["name"], classes, shape, record["train_examples"], scaling)


def trained_together(found: dict[str, Any]) -> int:
    """The number of runs in one program; 1 if that is not known."""
    runs = found.get("trained_together")
    return runs if type(runs) is int and runs > 0 else 1


def memory_limit(found: dict[str, Any]) -> int | None:
    """The bytes above which a split was streamed; None: the default, or not known."""
    limit = found.get("memory_limit")
    return limit if type(limit) is int and limit >= 0 else None


def mesh(found: dict[str, Any]) -> MeshShape | None:
    """The devices that shared the run; None: one, those of several processes, or not known."""
    sizes = _mesh_sizes(found)
    known = sizes.keys() == {"data", "model"} and min(sizes.values()) > 0 and found.get("processes") == 1
    return MeshShape(**sizes) if known else None


def devices(found: dict[str, Any]) -> int:
    """How many, of all processes, shared the run; 1 if that is not known."""
    return math.prod(_mesh_sizes(found).values())


def _mesh_sizes(found: dict[str, Any]) -> dict[str, int]:
    sizes = found.get("mesh")
    return {axis: size for axis, size in sizes.items() if type(size) is int} if isinstance(sizes, dict) else {}
