"""CSV and TSV files: numbers in every column but one, which holds the class."""

import array
import csv
import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import numpy as np

from jaxnn.data import split
from jaxnn.data.dataset import Dataset
from jaxnn.errors import UserError

Header = Literal["auto", "yes", "no"]
Row = tuple[int, list[str]]  # the line it ends on, from 1, and its cells

ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".data")
_DELIMITERS = ("\t", ";", ",")
_SEARCHED = 1000  # names for the nearest, each of which takes some microseconds
_COLUMN = re.compile("-?[0-9]{1,9}")


@dataclass(frozen=True)
class _Columns:
    count: int
    label: int
    names: list[str] | None

    def describe(self, index: int) -> str:
        return f"column {index}" if self.names is None else f"column {index} ({self.names[index]!r})"


def read(path: Path, *, name: str, label: str | None = None, header: Header = "auto") -> Dataset:
    """The features as float32, the classes in the order of their names (of their value if all are numbers).

    ``label``: the class column, by name or by number from 0 (-1: the last, as without one).
    ``header`` auto: the first line is a header if no cell of it, the class apart, is a number.
    Raises UserError that names the line and column of a cell that is missing, text or not finite; a line of
    another length; a class column that is missing or is none; a file that is empty or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _rows(file, path)
            first = next(rows, None)
            if first is None:
                raise UserError(f"{path} is empty; it needs one line for each example")
            columns = _columns(first[1], path, label=label, header=header)
            inputs, cells, lines = _numbers(rows if columns.names else itertools.chain([first], rows), columns, path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    labels, classes = _classes(cells, lines, columns, path)
    train, test = split.stratified(inputs, labels, classes=classes, where=str(path))
    return Dataset(name=name, train=train, test=test, classes=classes, source=str(path))


def _rows(file: TextIO, path: Path) -> Iterator[Row]:
    """Every line that is not blank. Columns are counted from 0, lines from 1."""
    opening = next((line for line in file if line.strip()), "")
    file.seek(0)
    by_name = path.suffix.lower() in (".tsv", ".tab")
    reader = csv.reader(file, delimiter="\t" if by_name else max(_DELIMITERS, key=opening.count), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; mend or remove that line") from error


def _columns(first: list[str], path: Path, *, label: str | None, header: Header) -> _Columns:
    count = len(first)
    if count < 2:
        raise UserError(
            f"{path} has one column; it needs features and a class, separated by commas, semicolons or tabs"
        )
    names = [cell.strip() for cell in first]
    number = int(label) if label is not None and _COLUMN.fullmatch(label) else None
    named = number is None and label in names
    if header == "no" or (header == "auto" and not named and not _is_header(names, number, path)):
        names = None
    if label is None:
        return _Columns(count, count - 1, names)
    if names and label in names:
        return _Columns(count, names.index(label), names)
    if number is not None and -count <= number < count:
        return _Columns(count, number % count, names)
    nearest = difflib.get_close_matches(label, (names or [])[:_SEARCHED], n=1)
    choice = f"did you mean {nearest[0]!r}?" if nearest else f"its columns are {', '.join(names or [])}"
    raise UserError(f"{path} has no column --label {label!r}; {choice if names else f'give a number below {count}'}")


def _is_header(names: list[str], label: int | None, path: Path) -> bool:
    label = len(names) - 1 if label is None or not -len(names) <= label < len(names) else label % len(names)
    features = [name for i, name in enumerate(names) if i != label and name]
    are_numbers = [_is_number(name) for name in features]
    if any(are_numbers) and not all(are_numbers):
        text = features[are_numbers.index(False)]
        raise UserError(
            f"{path}, line 1 has both numbers and text ({text!r}); mend it, or say --header yes or --header no"
        )
    return not any(are_numbers)


def _numbers(rows: Iterable[Row], columns: _Columns, path: Path) -> tuple[np.ndarray, list[str], array.array]:
    """The features (float32), and of each row its class cell and its line."""
    values, cells, lines = array.array("d"), [], array.array("q")
    for line, row in rows:
        if len(row) != columns.count:
            raise UserError(
                f"{path}, line {line} has {len(row)} cells where line 1 has {columns.count}; mend that line"
            )
        lines.append(line)
        cells.append(row.pop(columns.label).strip())
        try:
            values.extend(map(float, row))
        except ValueError:
            row.insert(columns.label, "0")
            index = next(i for i, cell in enumerate(row) if not _is_number(cell))
            raise _bad_cell(path, line, columns.describe(index), row[index]) from None
    if not cells:
        raise UserError(f"{path} has a header and no rows; it needs one line for each example")
    with np.errstate(over="ignore"):
        inputs = np.array(values).astype(np.float32).reshape(len(cells), columns.count - 1)
    bad = np.argwhere(~np.isfinite(inputs))
    if len(bad):
        row, column = bad[0].tolist()
        value = values[row * (columns.count - 1) + column]
        raise _bad_cell(path, lines[row], columns.describe(column + (column >= columns.label)), str(value))
    return inputs, cells, lines


def _bad_cell(path: Path, line: int, column: str, cell: str) -> UserError:
    if not cell.strip():
        return UserError(f"{path}, line {line}, {column}: the cell is missing; fill it in or remove the line")
    what = "not a finite float32" if _is_number(cell) else "not a number"
    return UserError(f"{path}, line {line}, {column}: {cell!r} is {what}; mend it or choose the class with --label")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _classes(cells: list[str], lines: array.array, columns: _Columns, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers from 0, and the names."""
    unique = set(cells)
    values = {cell: float(cell) for cell in unique if _is_number(cell)}
    for cell in unique:
        if not cell or not math.isfinite(values.get(cell, 0)):
            raise _bad_cell(path, lines[cells.index(cell)], columns.describe(columns.label), cell)
    if len(values) == len(unique):  # 1 and 1.0 are one class
        ordered = sorted(set(values.values()))
        classes = tuple(str(int(v)) if v == int(v) else repr(v) for v in ordered)
        position = {value: i for i, value in enumerate(ordered)}
        number = {cell: position[value] for cell, value in values.items()}
    else:
        classes = tuple(sorted(unique))
        number = {cell: i for i, cell in enumerate(classes)}
    at = columns.describe(columns.label)
    if len(classes) == 1:
        raise UserError(f"{path}, {at}: {classes[0]!r} is the only class; choose the class column with --label")
    if len(classes) > len(cells) / 2:
        raise UserError(
            f"{path}, {at} has {len(classes)} different values in {len(cells)} rows, so it is a quantity and no class; "
            "choose the class column with --label"
        )
    return np.fromiter((number[cell] for cell in cells), np.int32, len(cells)), classes
