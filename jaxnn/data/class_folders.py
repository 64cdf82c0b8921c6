"""Which images of a folder are of which split and class: [train/]CLASS/*, and test/CLASS/* or val/CLASS/*."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from jaxnn.data.decoding import ENDINGS
from jaxnn.errors import UserError

_WHOLE = ""  # the split of images that lie in CLASS/ without train/ above
_TEST_NAMES = ("test", "val", "validation")


class Arranged(NamedTuple):
    """``names`` of files by split, in it by class, in it by name; the ``rows`` of each split (of one, if no test)."""

    names: list[str]
    labels: Int32[np.ndarray, " examples"]
    rows: list[Int[np.ndarray, " rows"]]
    classes: tuple[str, ...]


def arrange(names: Sequence[str], folders: Sequence[str], path: Path) -> Arranged:
    """Classes in alphabetical order. ``names`` and ``folders`` are relative to ``path``, with slashes.

    Raises UserError, which names ``path``, for the lack of images, an empty class, or a single one.
    """
    by_split = _placed(sorted(names, key=lambda name: name.split("/")), folders)
    if not by_split:
        raise UserError(f"{path} holds no images: put {', '.join(ENDINGS)} files into [train/]CLASS/ folders")
    classes = tuple(sorted({label for placed in by_split.values() for label in placed}))
    for part, placed in by_split.items():
        for label in classes:
            if not placed.get(label):
                raise UserError(
                    f"{path}: class {PurePosixPath(part, label)} has no images; add some or remove the class"
                )
    if len(classes) == 1:
        raise UserError(f"{path}: {classes[0]!r} is the only class; there must be at least two class folders")
    ordered, labels, rows = [], [], []
    for placed in by_split.values():
        start = len(ordered)
        ordered += [name for label in classes for name in placed[label]]
        labels.append(np.repeat(np.arange(len(classes), dtype=np.int32), [len(placed[label]) for label in classes]))
        rows.append(np.arange(start, len(ordered)))
    return Arranged(ordered, np.concatenate(labels), rows, classes)


def _placed(names: Sequence[str], folders: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """{split: {class: names}}; a class folder without images is an empty list."""
    base = _base(names)
    tops = {name[len(base) :].split("/", 1)[0] for name in names if name.startswith(base)}
    parts = [_WHOLE]
    if "train" in tops:
        parts = ["train/", *[f"{name}/" for name in _TEST_NAMES if name in tops][:1]]
    by_split: dict[str, dict[str, list[str]]] = {}
    for part in parts:
        at = base + part
        placed = by_split.setdefault(part, {})
        for folder in folders:
            if folder.startswith(at) and "/" not in folder[len(at) :]:
                placed.setdefault(folder[len(at) :], [])
        for name in names:
            if name.startswith(at) and "/" in (inside := name[len(at) :]):
                placed.setdefault(inside.split("/", 1)[0], []).append(name)
    return {part: placed for part, placed in by_split.items() if any(placed.values())}


def _base(names: Sequence[str]) -> str:
    """The folder in which train/ or the classes lie: a tar may have one leading folder."""
    tops = {name.split("/", 1)[0] for name in names}
    if len(tops) == 1 and "train" not in tops and all(name.count("/") > 1 for name in names):
        return f"{tops.pop()}/"
    return ""
