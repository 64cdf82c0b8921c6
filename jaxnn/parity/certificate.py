"""A certificate: every recipe compared with its PyTorch mirror, and the planted faults that the comparison finds."""

import datetime
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxnn import data, environment, recipes
from jaxnn.files import write_atomically
from jaxnn.parity.carried import compare_state
from jaxnn.parity.recipe_run import compare_accuracy, compare_recipe
from jaxnn.parity.report import Report, page
from jaxnn.recipe import Recipe

_EMBEDDED = {"csv": "iris", "tabular-mlp": None, "tabular-minibatch": None, "breast-cancer": None}
"""What stands in for a recipe's own data set where no folder of data is named: digits, unless said here."""


def resolve(name: str, *, dataset: str | None, data_dir: str | None, **changes: Any) -> tuple[Recipe, data.Dataset]:
    """The recipe and its data, prepared. Without ``dataset`` and ``data_dir``, data that need no download."""
    if dataset is None and data_dir is None and name in recipes.PRESETS:
        dataset = _EMBEDDED.get(name, "digits")
    recipe = recipes.get(name, dataset=dataset).replace(data_dir=data_dir, **changes)
    loaded = data.load_for(recipe)
    if recipe.batch_size is not None and recipe.batch_size > len(loaded.train):
        recipe = recipe.replace(batch_size=len(loaded.train))
    return recipe, loaded


def compare_all(
    names: Sequence[str], *, steps: int, accuracy: bool = False, state: bool = False, **options: Any
) -> Iterator[Report]:
    """A report on each recipe, as it is there; ``options`` as for ``resolve``.

    ``steps`` of training are compared, with ``accuracy`` what the whole recipe reaches, which takes as long, and with
    ``state`` a training that moves to the other framework and back.
    """
    for name in names:
        recipe, dataset = resolve(name, **options)
        report = compare_recipe(recipe.replace(steps=steps or None), dataset)
        if accuracy:
            report = replace(report, entries=(*report.entries, compare_accuracy(recipe, dataset)))
        if state:
            report = replace(report, entries=(*report.entries, *compare_state(recipe, dataset)))
        yield report


def write(folder: Path, reports: Sequence[Report], matrix: Sequence[dict[str, Any]] | None) -> list[Path]:
    """Writes ``folder``/certificate.json and .html; returns both."""
    import torch

    import torchref.environment

    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torchref.environment.platform(torch.device("cpu")),
        "jax": environment.platform(),
    }
    stated = {"title": "Parity of JAX and PyTorch", "about": about, "matrix": matrix}
    contents = {"json": page.certificate_json(reports, **stated), "html": page.certificate(reports, **stated)}
    for suffix, content in contents.items():
        write_atomically(folder / f"certificate.{suffix}", content.encode(errors="replace"))
    return [folder / f"certificate.{suffix}" for suffix in contents]
