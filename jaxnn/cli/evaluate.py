"""``jaxnn evaluate``"""

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.table import Table

from jaxnn import checkpoint_choice, data
from jaxnn.cli import backends
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stderr, stdout
from jaxnn.errors import UserError
from jaxnn.run_dir import RunDir


@dataclass(frozen=True)
class Options:
    """Evaluate a checkpoint of RUN: accuracy, mean loss, per-class accuracy, confusion matrix."""

    run: tyro.conf.Positional[Path]
    """A run directory that `jaxnn train` wrote."""
    checkpoint: str = "newest"
    """newest, best (the highest test accuracy of those kept), or the number of a step."""
    split: Literal["test", "train"] = "test"
    data_dir: Path | None = None
    """Where the data are now, if they have moved since training."""
    json: bool = False
    """Print one JSON object."""


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a run: `jaxnn evaluate RUN`")
    options = parse(Options, argv, prog="jaxnn evaluate")
    checkpoint = checkpoint_choice.parse(options.checkpoint)
    directory = directory_of(options.run)
    recipe, framework = directory.read_recipe()
    if options.data_dir is not None:
        recipe = recipe.replace(data_dir=str(options.data_dir.resolve()))
    backends.require(framework, recipe)
    dataset = data.load_for(recipe)

    def notice(text: str) -> None:
        stderr().print(f"note: {text}")

    if not dataset.may_be(directory.data_fingerprint()):
        notice(f"{dataset.source} is not the data that {options.run} was trained on")
    result = {"run": str(options.run), "split": options.split}
    result |= backends.evaluate(framework, recipe, dataset, directory, options.split, notice, checkpoint=checkpoint)
    if options.json:
        print(json_format.dumps(result))
    else:
        _show(result, dataset.classes)
    return 0


def directory_of(path: Path) -> RunDir:
    """The run in ``path``. Raises UserError, which names one, if several are in it."""
    directory = RunDir(path)
    if not directory.exists() and (inner := sorted(path.rglob("recipe.json"))):
        raise UserError(
            f"{path} holds {len(inner)} run{'s' * (len(inner) > 1)}; name one of them, such as {inner[0].parent}"
        )
    return directory


def _show(result: dict[str, Any], classes: tuple[str, ...]) -> None:
    console = stdout()
    console.print(
        f"{result['examples']:,} {result['split']} examples: "
        f"accuracy {result['test_accuracy']:.4f}, mean loss {result['test_loss']:.6f}"
    )
    table = Table("class", "accuracy", *(f"-> {name}" for name in classes), box=box.SIMPLE_HEAD)
    for name, accuracy, counts in zip(classes, result["class_accuracy"], result["confusion"], strict=True):
        table.add_row(name, "-" if accuracy is None else f"{accuracy:.4f}", *map(str, counts))
    console.print(table)
