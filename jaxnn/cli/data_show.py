"""``jaxnn data show``"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich import box
from rich.table import Table

from jaxnn import files, plots
from jaxnn.cli import windows
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stdout
from jaxnn.cli.data_source import Source
from jaxnn.data import Dataset, Split
from jaxnn.errors import UserError, printable

_MOST = 400
_FEATURES = 8  # columns of a table that a line has room for


@dataclass(frozen=True)
class Options(Source):
    """Examples with their classes: images as a grid, the rows of a table as text."""

    out: Path | None = None
    """The PNG file to write (default: a window; without a display NAME.png)."""
    split: Literal["train", "test"] = "train"
    count: int | None = None
    """How many examples, of each class as many (default: 40 images, 10 rows)."""
    overwrite: bool = False
    """Replace an earlier file."""


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a data set: `jaxnn data show NAME|PATH`; `jaxnn data list` lists the named ones")
    options = parse(Options, argv, prog="jaxnn data show")
    if options.count is not None and not 1 <= options.count <= _MOST:
        raise UserError(f"--count must be from 1 to {_MOST}, but it is {options.count}")
    if options.out is not None:
        _require(options.out, options)
    dataset = options.load()
    split = dataset.train if options.split == "train" else dataset.test
    if dataset.is_images:
        _show_images(dataset, split, options)
    elif options.out is not None:
        raise UserError(f"--out is for images, but {dataset.name} is a table, which is shown as text; leave it out")
    else:
        _show_rows(dataset, split, options)
    return 0


def _require(out: Path, options: Options) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} must end in .png")
    if not out.parent.is_dir():
        raise UserError(f"--out {out} cannot be written: there is no folder {out.parent}")
    files.require_file(out, overwrite=options.overwrite)


def _show_images(dataset: Dataset, split: Split, options: Options) -> None:
    shown = in_turn(split.labels, 40 if options.count is None else options.count)
    classes = len(dataset.classes)
    columns = classes * (10 // classes) if classes <= 10 else 10
    captions = [_short(dataset.classes[label]) for label in split.labels[shown]]
    title = f"{dataset.name}\n{_counts(split, shown, options)}"
    figure = plots.images(title, split.inputs[shown], captions, columns=columns)
    out = options.out
    if out is None:
        missing = windows.missing()
        if missing is None:
            windows.show([figure])
            return
        out = Path(f"{Path(dataset.name).name or 'data'}.png")
        _require(out, options)
        print(f"{missing}: the images go to a file")
    files.write_atomically(out, plots.png(figure))
    print(printable(f"wrote {out}"))


def _show_rows(dataset: Dataset, split: Split, options: Options) -> None:
    shown = in_turn(split.labels, 10 if options.count is None else options.count)
    features = split.inputs.shape[1]
    names = [str(number) for number in range(min(features, _FEATURES))]
    more = ["..."] if features > _FEATURES else []
    table = Table("class", *names, *more, box=box.SIMPLE_HEAD)
    for row, label in zip(split.inputs[shown], split.labels[shown], strict=True):
        table.add_row(dataset.classes[label], *(f"{value:.6g}" for value in row[:_FEATURES]), *more)
    console = stdout()
    counts = _counts(split, shown, options)
    console.print(f"{dataset.name} ({dataset.source}): {counts}, {features} features")
    console.print(table)


def _counts(split: Split, shown: np.ndarray, options: Options) -> str:
    kind = "training" if options.split == "train" else "test"
    return f"{len(shown)} of {len(split):,} {kind} examples"


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"


def in_turn(labels: np.ndarray, count: int) -> np.ndarray:
    """The first ``count`` examples when the classes take turns, each in the order of the file."""
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = labels == label
        turn[of_class] = np.arange(of_class.sum())
    return np.lexsort((labels, turn))[:count]
