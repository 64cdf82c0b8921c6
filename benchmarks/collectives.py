"""The collectives of a compiled program, read from XLA's text of it: which, of what, and how many bytes they move."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

_KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_UNREAD = ("collective-broadcast", "ragged-all-to-all")
_SHAPE = re.compile(r"\b([a-z]+[0-9]*[a-z0-9]*)\[([0-9,]*)\]")
# name = result kind(operands), attributes; a result is a shape, or a tuple of them.
_INSTRUCTION = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.\-]+ = (?P<result>.+?) (?P<kind>{'|'.join((*_KINDS, *_UNREAD))})(?P<start>-start)?\("
)
_DEVICES = re.compile(r"\b(?:num_partitions|replica_count)=([0-9]+)")
_BITS = {"pred": 8, "bf16": 16}


class Array(NamedTuple):
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def bytes(self) -> int:
        bits = _BITS.get(self.dtype) or int(re.findall("[0-9]+", self.dtype)[0])
        return math.ceil(math.prod(self.shape) * bits / 8)


class Collective(NamedTuple):
    """``arrays``: its results on one device. ``group``: how many devices exchange them with each other."""

    kind: str
    arrays: tuple[Array, ...]
    group: int

    @property
    def bytes(self) -> int:
        """Of all arrays, as one device has them before or after, whichever is more."""
        of_results = sum(array.bytes for array in self.arrays)
        return of_results * self.group if self.kind == "reduce-scatter" else of_results

    @property
    def sent(self) -> float:
        """Bytes that each device sends, by the ring algorithm."""
        around = (self.group - 1) / self.group
        return self.bytes * {"all-reduce": 2 * around, "collective-permute": 1.0}.get(self.kind, around)


def read(text: str) -> list[Collective]:
    """Those of ``compiled.as_text()``, in its order; one inside a loop once, as often as one pass runs it.

    Asynchronous ones count where they start. Raises ValueError for a collective whose bytes it cannot tell.
    """
    devices = math.prod(int(count) for count in _DEVICES.findall(text.split("\n", 1)[0])) or 1
    return [_read(line, found, devices) for line in text.splitlines() if (found := _INSTRUCTION.match(line))]


def summary(found: list[Collective]) -> list[dict[str, Any]]:
    """For JSON: equal ones together, in the order of the first, with how many they are."""
    return [
        {"kind": each.kind, "times": times, "group": each.group, "bytes": each.bytes, "sent": each.sent}
        | {"arrays": " ".join(map(str, each.arrays))}
        for each, times in Counter(found).items()
    ]


def _read(line: str, found: re.Match[str], devices: int) -> Collective:
    kind = found["kind"]
    if kind in _UNREAD:
        raise ValueError(f"the bytes of a {kind} are not known: {line.strip()[:200]}")
    arrays = tuple(
        Array(dtype, tuple(int(size) for size in sizes.split(",") if size))
        for dtype, sizes in _SHAPE.findall(found["result"])
    )
    if (
        found["start"] and kind != "all-reduce"
    ):  # the operands, then the results; of a permutation, marks of its own too
        while kind == "collective-permute" and len(arrays) > 2 and arrays[-1] == Array("u32", ()):
            arrays = arrays[:-1]
        arrays = arrays[len(arrays) // 2 :]
    return Collective(kind, arrays, 2 if kind == "collective-permute" else _group(line, devices))


def _group(line: str, devices: int) -> int:
    """The size of a group, which XLA writes in four ways."""
    mesh = re.search(r"replica_groups=@?mesh\w*\[(.*?)\](?:, device_ids=\(.*?\))? \{(.*?)\}", line)
    if mesh:
        sizes = {axis: int(size) for axis, size in re.findall(r"'(\w+)'=([0-9]+)", mesh[1])}
        parts = re.findall(r"'(\w+)'(?::\([0-9]+\)([0-9]+))?", mesh[2])  # of an axis, or of a part of it
        return math.prod(int(part) if part else sizes[axis] for axis, part in parts)
    iota = re.search(r"replica_groups=\[([0-9]+),([0-9]+)\]<=", line)
    if iota:
        return int(iota[2])
    listed = re.search(r"replica_groups=\{(?:\{([0-9,]*)\}.*?)?\}", line)
    if listed is None:
        raise ValueError(f"the groups of devices are not known: {line.strip()[:200]}")
    return len(listed[1].split(",")) if listed[1] else devices
