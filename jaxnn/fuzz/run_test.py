"""The files of a run, given anything: recipe.json, metrics.jsonl and environment.json, as the report reads them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from jaxnn import recipes
from jaxnn.fuzz.damage import any_json, changed
from jaxnn.fuzz.guard import Reader, hold_ten_thousand, property_of
from jaxnn.report import Evidence, render, runs
from jaxnn.run_dir import RunDir

RECIPES = [
    {"framework": "jax"} | json.loads(recipes.get(name).to_json()) for name in ("lenet", "cifar-cnn", "breast-cancer")
]
ROW = {"epoch": 1, "step": 6, "train_loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.6, "test_accuracy": 0.8,
       "seconds": 1.5, "examples_per_second": 1e5}  # fmt: skip
ENVIRONMENT = {
    "python": "3.12.1",
    "data": {"name": "digits", "source": "scikit-learn", "fingerprint": "ab", "train_examples": 9, "test_examples": 3,
             "classes": ["0", "1"], "input_shape": [8, 8, 1]},
}  # fmt: skip
_SCALED = {"input_shape": [2], "scaling": {"mean": [0.5, -1], "std": [1.5, 0]}}
TABLE = ENVIRONMENT | {"data": {**ENVIRONMENT["data"], **_SCALED}}
ROWS = st.lists(changed(ROW).map(json.dumps) | st.just(json.dumps(ROW)), max_size=3).map(
    lambda rows: "".join(f"{row}\n" for row in rows).encode()
)


def _written(name: str, data: bytes, folder: Path) -> RunDir:
    files = {"recipe.json": RECIPES[0], "metrics.jsonl": ROW, "environment.json": ENVIRONMENT}
    for file, content in files.items():
        (folder / file).write_bytes(json.dumps(content).encode() + b"\n")
    (folder / name).write_bytes(data)
    return RunDir(folder)


def _read_recipe(data: bytes, folder: Path) -> None:
    recipe, framework = _written("recipe.json", data, folder).read_recipe()
    _written("recipe.json", data, folder).write_recipe(recipe, framework)
    assert RunDir(folder).read_recipe() == (recipe, framework)


def _read_report(name: str) -> Any:
    def read(data: bytes, folder: Path) -> None:
        _written(name, data, folder)
        [series] = runs.read([folder])
        assert render([series], {series.name: Evidence("no checkpoint", None)})

    return read


def _read_data_record(data: bytes, folder: Path) -> None:
    run = _written("environment.json", data, folder)
    run.data_fingerprint()
    found = run.trained_on()
    assert all(isinstance(size, int) and size > 0 for size in found.input_shape), found
    assert all(isinstance(text, str) for text in (found.name, *found.classes)), found
    if found.scaling is not None:
        assert found.input_shape == (len(found.scaling.mean),) == (len(found.scaling.std),), found
        assert np.isfinite([found.scaling.mean, found.scaling.std]).all(), found


READERS = {
    "recipe": Reader(st.one_of(*map(any_json, RECIPES)), _read_recipe, "recipe.json"),
    "metrics": Reader(ROWS | any_json(ROW), _read_report("metrics.jsonl"), "metrics.jsonl"),
    "environment": Reader(any_json(ENVIRONMENT), _read_report("environment.json"), "environment.json"),
    "record of the data": Reader(any_json(ENVIRONMENT) | any_json(TABLE), _read_data_record, "environment.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_anything_is_read_or_refused(name: str, tmp_path: Path) -> None:
    property_of(READERS[name], tmp_path, examples=200)()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_cases(name: str, tmp_path: Path) -> None:
    hold_ten_thousand(READERS[name], tmp_path)
