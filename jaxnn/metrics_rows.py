"""The rows of metrics.jsonl: what each epoch measured."""

from pathlib import Path
from typing import Any

import pydantic

from jaxnn.errors import UserError

_ROW = pydantic.TypeAdapter(dict[str, int | float | list[float | None]])
_ROWS = pydantic.TypeAdapter(list[dict[str, int | float | list[float | None]]])
_BY_CLASS = "test_class_accuracy"  # the only list
_LAST = 2**53  # epoch or step


def read(file: Path) -> list[dict[str, Any]]:
    """One row per finished epoch, in order, without a last one that was cut short; none without a file.

    Raises UserError that names the damaged line.
    """
    if not file.exists():
        return []
    rows = []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            rows.append(_checked(_ROW.validate_json(line, strict=True)))
        except ValueError as error:
            why = "not a row of metrics" if isinstance(error, pydantic.ValidationError) else error
            raise UserError(f"{file}, line {number}: {why}") from error
    return rows


def as_rows(rows: object) -> list[dict[str, Any]]:
    """``rows`` if they are rows of metrics; raises ValueError if not."""
    return list(map(_checked, _ROWS.validate_python(rows, strict=True)))


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    if any(isinstance(value, list) != (name == _BY_CLASS) for name, value in row.items()):
        raise ValueError("not a row of metrics")
    if not all(type(row.get(name)) is int and 0 < row[name] <= _LAST for name in ("epoch", "step")):
        raise ValueError("epoch and step must be positive whole numbers")
    return row
