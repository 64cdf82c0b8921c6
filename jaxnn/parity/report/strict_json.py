"""JSON that every reader takes: numbers that are not finite become the strings "NaN", "Infinity", "-Infinity"."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

Json = dict[str, Any] | list[Any] | str | int | float | bool | None


def plain(value: object) -> Json:
    """``value`` as JSON has it: tuples, sets and arrays as lists, NumPy's scalars as Python's, all else as its text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def text(value: object) -> str:
    """``value`` as JSON text with a line for each record, so that a change reads well in a diff."""
    return _lines(plain(value), "") + "\n"


def _lines(value: Json, indent: str) -> str:
    if isinstance(value, dict) and any(map(_deep, value.values())):
        rows = [f"{json.dumps(key)}: {_lines(item, indent + ' ')}" for key, item in value.items()]
        return f"{{\n{indent} " + f",\n{indent} ".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        rows = [_lines(item, indent + " ") for item in value]
        return f"[\n{indent} " + f",\n{indent} ".join(rows) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


def _deep(value: Json) -> bool:
    """Whether ``value`` is more than a number, a text or a list of them."""
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, dict | list) for item in items)
