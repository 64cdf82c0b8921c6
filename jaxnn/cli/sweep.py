"""One command, many runs: ``--seeds`` and ``--sweep``."""

import dataclasses
from collections import Counter
from typing import Any, NamedTuple

import pydantic

from jaxnn.cli.arguments import nearest
from jaxnn.errors import UserError
from jaxnn.recipe import Recipe

_MOST = 10_000  # runs: each is a folder, and a line of the summary


class Variant(NamedTuple):
    """One recipe to train, and its folder below the output folder (``.`` for a single run)."""

    folder: str
    recipe: Recipe


def expand(recipe: Recipe, *, seeds: int | None, sweep: str | None) -> list[Variant]:
    """Every combination of the swept values and seeds. Raises UserError for a field or value that does not exist."""
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds must be at least 1, but it is {seeds}")
    if (count := (seeds or 1) * (1 + (sweep or "").count(","))) > _MOST:
        raise UserError(f"--seeds and --sweep ask for {count} runs, and one command makes {_MOST} at most")
    variants = [Variant(".", recipe)]
    if sweep is not None:
        variants = [Variant(f"{field}={value}", swept) for field, value, swept in _swept(recipe, sweep)]
    if seeds is not None:
        variants = [
            Variant(f"{folder}/seed-{seed}", base.replace(seed=seed))
            for folder, base in variants
            for seed in range(recipe.seed, recipe.seed + seeds)
        ]
    folders = Counter(variant.folder for variant in variants)
    if twice := [folder for folder, count in folders.items() if count > 1]:
        raise UserError(f"--sweep and --seeds name {twice[0]} twice")
    return variants


def _swept(recipe: Recipe, sweep: str) -> list[tuple[str, str, Recipe]]:
    name, separator, values = sweep.partition("=")
    if not separator or not values:
        raise UserError(f"--sweep takes FIELD=a,b,c, but it is {sweep!r}")
    field = name.replace("-", "_")
    kinds = _fields(recipe)
    if field not in kinds:
        raise UserError(f"--sweep: the recipe has no field {name!r}; {nearest(field, kinds)}")
    result = []
    for value in values.split(","):
        try:
            parsed = pydantic.TypeAdapter(kinds[field]).validate_strings(value)
        except pydantic.ValidationError as error:
            raise UserError(f"--sweep: {name} cannot be {value!r}: {error.errors()[0]['msg']}") from error
        result.append((field, value, recipe.replace(**{field: parsed})))
    return result


def _fields(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields by dotted name, with their types."""
    kinds: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            kinds |= {f"{field.name}.{inner.name}": inner.type for inner in dataclasses.fields(value)}
        else:
            kinds[field.name] = field.type
    del kinds["name"], kinds["model.kind"]
    return kinds
