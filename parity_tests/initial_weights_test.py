"""Runs that start from a file of weights, in both frameworks: the same training, also with a last layer of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchref.loop
from jaxnn import data, loop, models, recipes
from jaxnn.data import Dataset
from jaxnn.errors import UserError
from jaxnn.interop import export_run, weights
from jaxnn.interop.state_dict import state_dict
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir
from jaxnn.torch_random import TorchGenerator

TOLERANCE = 1e-12


def _ignore(_: str) -> None:
    pass


def _weights(file: Path, recipe: Recipe, *, outputs: int) -> dict[str, np.ndarray]:
    """Of another seed than the recipe's."""
    shape = (28, 28, 1)
    arrays = state_dict(models.build(recipe.model, input_shape=shape, outputs=outputs, rngs=TorchGenerator(7)))
    weights.write(file, arrays)
    return arrays


def _recipe(**changes: Any) -> tuple[Recipe, Dataset]:
    recipe = recipes.get("mnist-mlp", dataset="digits").replace(**{"precision": "float64", "steps": 20, **changes})
    return recipe, data.prepare(data.load("digits", seed=0), recipe.input)


@pytest.mark.parametrize("outputs", [10, 1000], ids=["same classes", "other classes"])
@pytest.mark.parametrize("freeze", [False, True], ids=["all", "the last layer"])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_both_frameworks_train_on(
    ending: str, freeze: bool, outputs: int, tmp_path: Path, largest_error: Callable[[object, object], float]
) -> None:
    file = tmp_path / f"w{ending}"
    recipe, dataset = _recipe(weights=str(file), freeze_backbone=freeze)
    given = _weights(file, recipe, outputs=outputs)
    jax_run, torch_run = RunDir(tmp_path / "jax"), RunDir(tmp_path / "torch")
    loop.train(recipe, dataset, jax_run)
    torchref.loop.train(recipe, dataset, torch_run)
    found = export_run.weights_of(jax_run, recipe, "jax", _ignore)
    expected = export_run.weights_of(torch_run, recipe, "torch", _ignore)
    assert max(largest_error(found[key], value) for key, value in expected.items()) <= TOLERANCE
    assert np.array_equal(found["fc1.weight"], given["fc1.weight"]) == freeze
    assert np.abs(found["fc1.weight"] - given["fc1.weight"]).max() < 0.1  # 20 steps of Adam from there


def test_a_resumed_run_does_not_need_the_file_any_more(tmp_path: Path) -> None:
    file, run = tmp_path / "w.pt", RunDir(tmp_path / "run")
    recipe, dataset = _recipe(weights=str(file))
    _weights(file, recipe, outputs=10)
    loop.train(recipe, dataset, run)
    file.unlink()
    loop.train(recipe.replace(steps=30), dataset, run, resume=True)
    assert run.read_metrics()[-1]["step"] == 30


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_a_run_without_a_checkpoint_starts_from_the_file_again(framework: Framework, tmp_path: Path) -> None:
    file, whole, killed = tmp_path / "w.pt", RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    train = loop.train if framework == "jax" else torchref.loop.train
    recipe, dataset = _recipe(weights=str(file))
    _weights(file, recipe, outputs=10)
    for run in (whole, killed):
        train(recipe, dataset, run)
    shutil.rmtree(killed.checkpoints)
    killed.write_metrics([])
    train(recipe, dataset, killed, resume=True)
    expected, found = (export_run.weights_of(run, recipe, framework, _ignore) for run in (whole, killed))
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("train", [loop.train, torchref.loop.train])
def test_weights_that_do_not_fit_leave_an_old_run_alone(train: Callable[..., Any], tmp_path: Path) -> None:
    file, run = tmp_path / "w.pt", RunDir(tmp_path / "run")
    recipe, dataset = _recipe()
    train(recipe, dataset, run)
    rows = run.read_metrics()
    torch.save({"fc1.weight": torch.ones(3)}, file)
    with pytest.raises(UserError, match="fc2.weight is missing"):
        train(recipe.replace(weights=str(file)), dataset, run)
    assert run.read_metrics() == rows
