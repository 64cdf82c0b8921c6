"""Several ArrayRecord files read as one sequence of records, by several threads at the same time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxnn.errors import UserError, first_line

# As its documentation says for records that are asked for one by one, in any order.
_OPTIONS: dict[str, Any] = {"options": "readahead_buffer_size:0,max_parallelism:0", "file_reader_buffer_size": 4096}


class Shards:
    """``files`` of so many records each, of at most ``largest`` bytes.

    Raises UserError for one that is damaged or holds another number, or a larger one: a packed record can become much.

    Not grain.sources.ArrayRecordDataSource: it hands the reader a list, which costs 0.8 ms a call for 4 us a record.
    """

    def __init__(self, files: Sequence[Path], examples: Sequence[int], *, largest: int) -> None:
        self._files, self._largest = files, largest
        self._ends = np.cumsum(examples)
        self._idle: list[list[Any]] = [[] for _ in files]  # of each file the readers that no thread is using
        for number, (file, count) in enumerate(zip(files, examples, strict=True)):
            reader = self._open(number)
            self._idle[number].append(reader)
            held = reader.num_records()  # 0 for what is no such file
            if held != count:
                raise UserError(f"{file} is damaged: it has {held} records instead of {count}; pack the set again")

    def read(self, rows: Int[np.ndarray, " rows"]) -> list[bytes]:
        """The records of those numbers, in that order."""
        numbers = np.searchsorted(self._ends, rows, side="right")
        records: list[bytes] = [b""] * len(rows)
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            positions = rows[places] - (self._ends[number - 1] if number else 0)
            for place, record in zip(places.tolist(), self._read(number, positions.tolist()), strict=True):
                records[place] = record
        return records

    def where(self, row: int) -> str:
        """What an error calls the record."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        return self._name(number, row - (self._ends[number - 1] if number else 0))

    def _name(self, number: int, position: int) -> str:
        return f"{self._files[number]}: record {position}"

    def _checked(self, record: bytes, number: int, position: int) -> bytes:
        if len(record) > self._largest:
            where = self._name(number, position)
            raise UserError(f"{where} has {len(record)} bytes instead of at most {self._largest}; pack the set again")
        return record

    def _read(self, number: int, positions: list[int]) -> Sequence[bytes]:
        try:
            reader = self._idle[number].pop()
        except IndexError:
            reader = self._open(number)
        try:
            found = [self._checked(reader.read(position, position + 1)[0], number, position) for position in positions]
        except UserError:
            raise
        except Exception as error:  # of the C++ library, which says little
            raise UserError(
                f"{self._files[number]} is damaged ({first_line(error)[:200]}); pack the set again"
            ) from error
        self._idle[number].append(reader)  # not one that has failed
        return found

    def _open(self, number: int) -> Any:
        from array_record.python.array_record_module import ArrayRecordReader

        file = self._files[number]
        try:
            return ArrayRecordReader(str(file), **_OPTIONS)
        except Exception as error:
            raise UserError(f"{file} cannot be read ({first_line(error)[:200]}); pack the set again") from error
