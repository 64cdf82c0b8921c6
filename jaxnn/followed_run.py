"""The run directory as those processes see it that leave writing to the first."""

import contextlib
from collections.abc import Iterator
from typing import Any

from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir


class FollowedRun(RunDir):
    """Reads what the first process writes, and writes nothing."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def create(self, recipe: Recipe, framework: Framework) -> None:
        pass

    def write_recipe(self, recipe: Recipe, framework: Framework) -> None:
        pass

    def write_environment(self, environment: dict[str, Any]) -> None:
        pass

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        pass

    def append_metrics(self, row: dict[str, Any]) -> None:
        pass

    def flush_metrics(self) -> None:
        pass
