"""``jaxnn data pack``"""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.progress import Progress

from jaxnn import data
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stderr
from jaxnn.cli.data_source import size_of
from jaxnn.data import packing
from jaxnn.errors import UserError


@dataclass(frozen=True)
class Options:
    """Write any set of images as ArrayRecord files, from which `jaxnn train --dataset OUT` reads batch by batch."""

    dataset: tyro.conf.Positional[str]
    """A named set, or the path of a folder of images, a tar of one, or IDX files."""
    out: tyro.conf.Positional[Path]
    """The folder to write."""
    data_dir: Path | None = None
    """The only place to search for a named set."""
    image_size: int | None = None
    """Keep pixels, resized to so many each way, in place of a folder's files: larger, but they need no decoding."""


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a data set and the folder to write: `jaxnn data pack NAME|PATH OUT`")
    options = parse(Options, argv, prog="jaxnn data pack")
    size = size_of(options.image_size)
    # The least limit: the pictures of a folder stay where they are until their turn comes.
    dataset = data.load(options.dataset, data_dir=options.data_dir, input=size, memory_limit=0)
    if size is not None:
        dataset = data.prepare(dataset, size)
    count = len(dataset.train) + len(dataset.test)
    with Progress(console=stderr(), transient=True) as progress:
        task = progress.add_task("packing", total=count)
        facts = packing.pack(dataset, options.out, progress=lambda done: progress.update(task, completed=done))
    shards = len(facts.train.shards) + len(facts.test.shards)
    size_gib = sum(shard.bytes for part in (facts.train, facts.test) for shard in part.shards) / 2**30
    print(
        f"wrote {options.out}: {count:,} examples as {facts.records} in {shards} ArrayRecord files, {size_gib:.2f} GiB"
    )
    return 0
