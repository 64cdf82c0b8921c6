"""``jaxnn predict``"""

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from jaxnn.cli import backends
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stderr
from jaxnn.cli.evaluate import directory_of
from jaxnn.data import pictures
from jaxnn.errors import UserError
from jaxnn.report import probabilities


@dataclass(frozen=True)
class Options:
    """The most probable classes of picture files, by the newest checkpoint of RUN. The data set is not needed."""

    run: tyro.conf.Positional[Path]
    """A run directory that `jaxnn train` wrote, of an image recipe."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """PNG, JPEG, BMP or WEBP files of any size."""
    top: int = 3
    """How many classes to show of each."""
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
    directory = directory_of(options.run)
    recipe, framework = directory.read_recipe()
    if recipe.input.size is None:
        raise UserError(f"{options.run} was trained on a table; predict takes runs that were trained on images")
    backends.require(framework, recipe)
    data = directory.trained_on()
    given = pictures.read(options.images, recipe.input, shape=data.input_shape, trained_on=data.name)

    def notice(text: str) -> None:
        stderr().print(f"note: {text}", markup=False)

    for note in given.notes:
        notice(note)
    outputs = backends.predict(framework, directory, options.images, given.inputs, notice)
    predictions = [
        {"image": str(path), "inverted": inverted, "top": _top(row, data.classes, options.top)}
        for path, inverted, row in zip(options.images, given.inverted, probabilities(outputs), strict=True)
    ]
    if options.json:
        print(json_format.dumps({"run": str(options.run), "predictions": predictions}))
    else:
        for prediction in predictions:
            found = "  ".join(f"{each['class']} {each['probability']:.4f}" for each in prediction["top"])
            print(f"{prediction['image']}: {found}")
    return 0


def _top(probabilities: np.ndarray, classes: tuple[str, ...], count: int) -> list[dict[str, Any]]:
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [{"class": classes[i], "probability": float(probabilities[i])} for i in best]
