"""``jaxnn data list|fetch|check|show|pack``"""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich import box
from rich.table import Table

from jaxnn import data
from jaxnn.cli import data_pack, data_show
from jaxnn.cli.arguments import nearest, parse
from jaxnn.cli.console import stdout
from jaxnn.cli.data_source import Source
from jaxnn.errors import UserError


@dataclass(frozen=True)
class ListOptions:
    """Where each named data set was found, and how to get it."""

    data_dir: Path | None = None
    """The only place to search."""


@dataclass(frozen=True)
class FetchOptions:
    """Download a named set once."""

    name: tyro.conf.Positional[str]
    """One of `jaxnn data list`."""
    data_dir: Path | None = None
    """Look only here, and download to here; None: look everywhere, and download to the cache."""


@dataclass(frozen=True)
class CheckOptions(Source):
    """Counts, shape, fingerprint, and what is wrong with a set; exit code 1 if something is."""


_USAGE = """usage: jaxnn data COMMAND ...

  list                 where each named set was found, or how to get it
  fetch NAME           download a named set once
  check NAME|PATH      counts, shape, fingerprint, and what is wrong with a set
  show NAME|PATH       examples of each class
  pack NAME|PATH OUT   write images as ArrayRecord files

PATH is a CSV or TSV file, a folder or tar of images, a packed folder, or IDX files. `jaxnn data COMMAND --help` lists
the options of a command."""


def run(argv: list[str]) -> int:
    verbs = {"list": _list, "fetch": _fetch, "check": _check, "show": data_show.run, "pack": data_pack.run}
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if argv else 2
    verb, *rest = argv
    if verb not in verbs:
        raise UserError(f"there is no command `jaxnn data {verb}`; {nearest(verb, verbs)}")
    return verbs[verb](rest)


def _list(argv: list[str]) -> int:
    options = parse(ListOptions, argv, prog="jaxnn data list")
    table = Table("data set", "found", "where, or how to get it", box=box.SIMPLE_HEAD)
    for row in data.inventory(options.data_dir):
        table.add_row(row.name, "yes" if row.found else "no", row.where if row.found else row.how)
    stdout().print(table)
    return 0


def _fetch(argv: list[str]) -> int:
    options = parse(FetchOptions, argv, prog="jaxnn data fetch")
    print(f"{options.name} is in {data.fetch(options.name, data_dir=options.data_dir)}")
    return 0


def _check(argv: list[str]) -> int:
    """Exit code 1 if the set can be read but is not what it should be."""
    options = parse(CheckOptions, argv, prog="jaxnn data check")
    found = data.check(options.dataset, loaded=options.load())
    console = stdout()
    console.print(f"{found.name} from {found.source}")
    console.print(f"inputs {found.input_shape}, fingerprint {found.fingerprint}")
    table = Table("class", "training examples", "test examples", box=box.SIMPLE_HEAD)
    for name, train, test in zip(found.classes, found.train_counts, found.test_counts, strict=True):
        table.add_row(name, f"{train:,}", f"{test:,}")
    table.add_row("all", f"{sum(found.train_counts):,}", f"{sum(found.test_counts):,}")
    console.print(table)
    for problem in found.problems:
        console.print(f"problem: {problem}")
    return 1 if found.problems else 0
