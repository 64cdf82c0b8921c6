"""Steps that are skipped because a loss is not finite, in both frameworks: the same weights, moments and metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn import data
from jaxnn.nonfinite_test import recipe, table
from parity_tests.trajectories_test import compare, run_jax, run_torch

TOLERANCE = 1e-12

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    "adam": {"amsgrad": True, "weight_decay": 0.1},
    "adamw": {},
    "nadam": {},
    "rmsprop": {"momentum": 0.9},
    "adagrad": {"lr_decay": 0.1},
}


@pytest.mark.parametrize("poisoned", ["first step", "fourth step"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_skipped_steps(
    name: str, poisoned: str, tmp_path: Path, largest_error: Callable[[object, object], float]
) -> None:
    options = {"name": name, "learning_rate": 0.01, **OPTIMIZERS[name]}
    changes = {f"optimizer.{option}": value for option, value in options.items()}
    of = recipe(on_nan="skip", log_every=1, **{"optimizer.momentum": 0.0, "schedule.name": "cosine"} | changes)
    dataset = table(value=np.nan)
    if poisoned == "first step":
        order = np.r_[30:60, 0:30]
        train = data.Split(dataset.train.inputs[order], dataset.train.labels[order])
        dataset = data.Dataset("rows", train, dataset.test, dataset.classes, dataset.source)
    dataset = data.prepare(dataset, of.input)
    ours, theirs = run_jax(of, dataset, tmp_path), run_torch(of, dataset, tmp_path)
    assert [row["skipped_steps"] for row in ours.rows] == [1, 1, 1]
    assert np.isnan(ours.losses).sum() == np.isnan(theirs.losses).sum() == 3
    ours, theirs = (run._replace(losses=np.nan_to_num(run.losses).tolist()) for run in (ours, theirs))
    errors = compare(ours, theirs, largest_error)
    assert {what: error for what, error in errors.items() if not error <= TOLERANCE} == {}
