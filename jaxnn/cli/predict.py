"""``jaxnn predict``"""

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from jaxnn import checkpoint_choice, files, plots
from jaxnn.cli import backends
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stderr
from jaxnn.cli.evaluate import directory_of
from jaxnn.data import pictures
from jaxnn.errors import UserError, printable
from jaxnn.report import probabilities


@dataclass(frozen=True)
class Options:
    """The most probable classes of picture files, by a checkpoint of RUN. The data set is not needed."""

    run: tyro.conf.Positional[Path]
    """A run directory that `jaxnn train` wrote, of an image recipe."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """PNG, JPEG, BMP or WEBP files of any size."""
    checkpoint: str = "newest"
    """newest, best (the highest test accuracy of those kept), or the number of a step."""
    top: int = 3
    """How many classes to show of each."""
    plot: Path | None = None
    """A PNG file: the pictures as the model sees them, beside bars of their most probable classes."""
    overwrite: bool = False
    """Replace an earlier plot."""
    json: bool = False
    """Print one JSON object."""


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a run and pictures: `jaxnn predict RUN IMAGE...`")
    options = parse(Options, argv, prog="jaxnn predict")
    if not options.images:
        raise UserError(f"name pictures: `jaxnn predict {options.run} IMAGE...`")
    if options.top < 1:
        raise UserError(f"--top must be at least 1, but it is {options.top}")
    checkpoint = checkpoint_choice.parse(options.checkpoint)
    if options.plot is not None:
        files.require_file(options.plot, overwrite=options.overwrite)
    directory = directory_of(options.run)
    recipe, framework = directory.read_recipe()
    if recipe.input.size is None:
        raise UserError(f"{options.run} was trained on a table; predict takes runs that were trained on images")
    backends.require(framework, recipe)
    data = directory.trained_on()
    given = pictures.read(options.images, recipe.input, shape=data.input_shape, trained_on=data.name)

    def notice(text: str) -> None:
        stderr().print(f"note: {text}")

    for note in given.notes:
        notice(note)
    outputs = backends.predict(framework, directory, options.images, given.inputs, notice, checkpoint=checkpoint)
    predictions = [
        {"image": str(path), "inverted": inverted, "top": _top(row, data.classes, options.top)}
        for path, inverted, row in zip(options.images, given.inverted, probabilities(outputs), strict=True)
    ]
    if options.plot is not None:
        top = [[(each["class"], each["probability"]) for each in found["top"]] for found in predictions]
        figure = plots.predictions(given.inputs, [path.name for path in options.images], top)
        files.write_atomically(options.plot, plots.png(figure))
    if options.json:
        print(json_format.dumps({"run": str(options.run), "predictions": predictions}))
    else:
        for prediction in predictions:
            found = "  ".join(f"{each['class']} {each['probability']:.4f}" for each in prediction["top"])
            print(printable(f"{prediction['image']}: {found}"))
    return 0


def _top(probabilities: np.ndarray, classes: tuple[str, ...], count: int) -> list[dict[str, Any]]:
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [{"class": classes[i], "probability": float(probabilities[i])} for i in best]
