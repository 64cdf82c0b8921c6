"""``jaxnn recipes``"""

import dataclasses
import json as json_format
from dataclasses import dataclass

from rich import box
from rich.table import Table

from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stdout
from jaxnn.recipes import PRESETS


@dataclass(frozen=True)
class Options:
    json: bool = False
    """Print one JSON object instead of the table."""


def run(argv: list[str]) -> int:
    options = parse(Options, argv, prog="jaxnn recipes")
    if options.json:
        listing = {
            name: {"about": preset.about, "expected": preset.expected, "recipe": dataclasses.asdict(preset.recipe)}
            for name, preset in PRESETS.items()
        }
        print(json_format.dumps(listing))
        return 0
    table = Table("recipe", "data set", "model and training", "expected test accuracy", box=box.SIMPLE_HEAD)
    for name, preset in PRESETS.items():
        own = "--dataset FOLDER" if preset.recipe.input.size else "--dataset FILE"
        table.add_row(name, preset.recipe.dataset or own, preset.about, preset.expected)
    stdout().print(table)
    return 0
