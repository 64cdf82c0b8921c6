"""A command's recipe: where its data lie, and whether a run can go on with it."""

import dataclasses
from typing import Any

from jaxnn import data
from jaxnn.cli.arguments import has, value_of
from jaxnn.errors import UserError
from jaxnn.files import expanded
from jaxnn.interop import weights
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir

# What may change when a run is continued: how far it goes and how it is shown, not what it computes.
_FREE = {"epochs", "steps", "log_every", "data_dir", "on_nan"}


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """A run must find its data again from any working directory."""
    changes: dict[str, Any] = {}
    if recipe.dataset is not None and not data.is_name(recipe.dataset):
        path = expanded(recipe.dataset)
        changes["dataset"] = str(path.resolve()) if path.exists() else recipe.dataset
    if recipe.weights == "pretrained":
        changes["weights"] = str(weights.pretrained(recipe.name))
    elif recipe.weights is not None:
        changes["weights"] = str(expanded(recipe.weights).resolve())
    if recipe.data_dir is not None:
        changes["data_dir"] = str(expanded(recipe.data_dir).resolve())
    return recipe.replace(**changes)


def image_size_options(argv: list[str], recipe: Recipe) -> list[str]:
    """The options of ``recipe`` that --image-size stands for. Raises UserError where it has no meaning."""
    size = value_of("--image-size", argv) or value_of("--image_size", argv)
    if size is None:
        return []
    if recipe.input.size is None:
        raise UserError(f"--image-size is for images, but recipe {recipe.name} takes a table; leave it out")
    for flag in ("--input.size", "--input.fit"):
        if has(flag, argv):
            raise UserError(f"--image-size sets {flag} itself; leave one of the two out")
    return ["--input.size", size, "--input.fit", "resize"]


def require_name(recipe: Recipe, name: str, command: str) -> None:
    """Raises UserError if --name has given the recipe another name than that by which ``command`` knows it."""
    if recipe.name != name:
        raise UserError(f"--name cannot be changed: the recipe is named first, `jaxnn {command} RECIPE`")


def require_same(recipe: Recipe, framework: Framework, run: RunDir) -> None:
    """Raises UserError if a run that is resumed would go on with another recipe or framework than it began with."""
    before, began = run.read_recipe()
    if began != framework:
        raise UserError(f"--resume: {run.path} was trained with --framework {began}")
    now = _flat(dataclasses.asdict(recipe))
    for name, old in _flat(dataclasses.asdict(before)).items():
        if old != now[name] and name not in _FREE:
            raise UserError(f"--resume: {name} is {old} in {run.path} and cannot become {now[name]}; use another --out")
    if recipe.schedule.needs_length and (before.epochs, before.steps) != (recipe.epochs, recipe.steps):
        raise UserError(
            f"--resume: schedule {recipe.schedule.name!r} in {run.path} was made for {before.epochs} epochs"
            f"{f' and {before.steps} steps' if before.steps else ''}; resume with these, or use another --out"
        )


def _flat(groups: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in groups.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
