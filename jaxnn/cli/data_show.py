"""``jaxnn data show``"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich import box
from rich.table import Table
from rich.text import Text

from jaxnn import data, files, plots
from jaxnn.cli import windows
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stdout
from jaxnn.data import Dataset, Split
from jaxnn.data.table import Header
from jaxnn.errors import UserError
from jaxnn.recipe import Input

_MOST = 400
_FEATURES = 8  # columns of a table that a line has room for


@dataclass(frozen=True)
class Options:
    """Examples with their classes: images as a grid, the rows of a table as text."""

    dataset: tyro.conf.Positional[str]
    """A named set, or the path of a CSV or TSV file, a folder of images or a tar of one."""
    out: Path | None = None
    """The PNG file to write (default: a window; without a display NAME.png)."""
    split: Literal["train", "test"] = "train"
    count: int | None = None
    """How many examples, of each class as many (default: 40 images, 10 rows)."""
    data_dir: Path | None = None
    """The only place to search."""
    image_size: int | None = None
    """Resize all images, of any size and shape, to so many pixels each way."""
    label: str | None = None
    """The class column of a table, by name or number (default: the last)."""
    header: Header = "auto"
    """Whether the first line of a table names its columns."""
    overwrite: bool = False
    """Replace an earlier file."""


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a data set: `jaxnn data show NAME|PATH`; `jaxnn data list` lists the named ones")
    options = parse(Options, argv, prog="jaxnn data show")
    if options.count is not None and not 1 <= options.count <= _MOST:
        raise UserError(f"--count must be from 1 to {_MOST}, but it is {options.count}")
    if options.image_size is not None and options.image_size < 1:
        raise UserError(f"--image-size must be at least 1 pixel, but it is {options.image_size}")
    if options.out is not None:
        _require(options.out, options)
    dataset = _load(options)
    split = dataset.train if options.split == "train" else dataset.test
    if dataset.is_images:
        _show_images(dataset, split, options)
    else:
        _show_rows(dataset, split, options)
    return 0


def _require(out: Path, options: Options) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out} must end in .png")
    if not out.parent.is_dir():
        raise UserError(f"--out {out} cannot be written: there is no folder {out.parent}")
    files.require_file(out, overwrite=options.overwrite)


def _load(options: Options) -> Dataset:
    size = None if options.image_size is None else Input(size=options.image_size)
    dataset = data.load(
        options.dataset, data_dir=options.data_dir, label=options.label, header=options.header, input=size
    )
    if dataset.is_images:
        return dataset if size is None else data.prepare(dataset, size)
    for flag, given in (("--out", options.out), ("--image-size", size)):
        if given is not None:
            raise UserError(
                f"{flag} is for images, but {dataset.name} is a table, which is shown as text; leave it out"
            )
    return dataset


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
    print(f"wrote {out}")


def _show_rows(dataset: Dataset, split: Split, options: Options) -> None:
    shown = in_turn(split.labels, 10 if options.count is None else options.count)
    features = split.inputs.shape[1]
    names = [str(number) for number in range(min(features, _FEATURES))]
    more = ["..."] if features > _FEATURES else []
    table = Table("class", *names, *more, box=box.SIMPLE_HEAD)
    for row, label in zip(split.inputs[shown], split.labels[shown], strict=True):
        table.add_row(Text(dataset.classes[label]), *(f"{value:.6g}" for value in row[:_FEATURES]), *more)
    console = stdout()
    counts = _counts(split, shown, options)
    console.print(f"{dataset.name} ({dataset.source}): {counts}, {features} features", markup=False)
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
