"""The run directories of a report: those named, or found in a folder that --seeds or --sweep wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxnn.data.order import batching, total_steps
from jaxnn.errors import UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir

_SEED = re.compile(r"seed-\d+")


@dataclass(frozen=True)
class Run:
    """``rows``: one for each finished epoch; ``environment``: empty if the record is gone or unreadable."""

    directory: RunDir
    recipe: Recipe
    framework: Framework
    rows: list[dict[str, Any]]
    environment: dict[str, Any]

    @property
    def framework_name(self) -> str:
        return {"jax": "JAX", "torch": "PyTorch"}[self.framework]

    @property
    def data(self) -> dict[str, Any]:
        """The data on which the run began (``Dataset.record``); empty if that is not known."""
        return self.environment.get("data", {})

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, self.data.get("classes", ())))

    @property
    def seconds(self) -> float:
        """Of training alone, all epochs."""
        return sum(row.get("seconds", 0.0) for row in self.rows)

    @property
    def steps(self) -> tuple[int, int] | None:
        """The steps of the finished epochs, and those of the whole run; None if the record of the data is gone."""
        try:
            wanted = total_steps(batching(self.data["train_examples"], self.recipe), self.recipe)
        except (KeyError, TypeError, UserError):
            return None
        return (self.rows[-1]["step"] if self.rows else 0), wanted

    @property
    def finished(self) -> bool:
        steps = self.steps
        return bool(self.rows) if steps is None else steps[0] >= steps[1]


@dataclass(frozen=True)
class Series:
    """Runs that differ in their seed alone, mostly one. ``name``: short, of its own in the report."""

    name: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def many(self) -> bool:
        return len(self.runs) > 1


def read(paths: Sequence[Path]) -> list[Series]:
    """The runs at ``paths``; of a folder of runs all of them, seeds as one series.

    Raises UserError for a path without a run, and for a damaged run.
    """
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        for run in _runs_in(path):
            seed = run != path and _SEED.fullmatch(run.name)
            found = folders.setdefault(run.parent if seed else run, [])
            if run not in found:
                found.append(run)
    names = _names(list(folders))
    return [Series(names[folder], tuple(map(_read, runs))) for folder, runs in folders.items()]


def _runs_in(path: Path) -> list[Path]:
    if RunDir(path).exists():
        return [path]
    inner = [*path.glob("*/recipe.json"), *path.glob("*/*/recipe.json")] if path.is_dir() else []
    if not inner:
        raise UserError(f"{path} is not a run directory: it has no recipe.json, and holds no runs")
    return sorted((file.parent for file in inner), key=lambda run: (run.parent, len(run.name), run.name))


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """The last parts of the paths, as many as tell them apart."""
    whole = {folder: folder.resolve().parts for folder in folders}
    for count in range(1, max(map(len, whole.values())) + 1):
        names = {folder: "/".join(parts[-count:]) for folder, parts in whole.items()}
        if len(set(names.values())) == len(names):
            return names
    return {folder: str(folder) for folder in folders}


def _read(path: Path) -> Run:
    directory = RunDir(path)
    recipe, framework = directory.read_recipe()
    return Run(directory, recipe, framework, directory.read_metrics(), directory.read_environment())
