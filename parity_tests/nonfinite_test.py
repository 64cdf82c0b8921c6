"""A loss that is not finite, in both frameworks: the same cause and batch; skipped, the same weights and metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn import data
from jaxnn import loop as jax_loop
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.errors import NonFiniteLossError
from jaxnn.nonfinite_test import recipe, table
from jaxnn.recipe import Loss, MnistMLP
from jaxnn.run_dir import RunDir
from parity_tests.trajectories_test import compare, run_jax, run_torch
from torchref import loop as torch_loop

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


FAILURES: dict[str, tuple[float | None, dict[str, Any], tuple[int, int], str]] = {
    "NaN in the data": (np.nan, {}, (1, 4), "the inputs (float64, 10x4)"),
    "weights that grow": (
        None,
        {"model": MnistMLP(hidden=(8,)), "loss": Loss(name="nll"), "optimizer.weight_decay": 1e16},
        (2, 6),
        "the loss (float64, scalar) is the first tensor that is not finite, in 1 of 1 values",
    ),
    "an update too large": (
        None,
        {"precision": "float32", "optimizer.learning_rate": 3e38, "loss.reduction": "sum"},
        (1, 1),
        "the updated ",
    ),
}


@pytest.mark.parametrize(("case", "checkpoint_every"), [*((case, 1000) for case in FAILURES), ("weights that grow", 4)])
def test_both_name_the_first_bad_tensor_and_keep_its_batch(case: str, checkpoint_every: int, tmp_path: Path) -> None:
    value, changes, (epoch, step), first = FAILURES[case]
    of = recipe(shuffle=True, **changes) if value is None else recipe(**changes)
    dataset = data.prepare(table(**{} if value is None else {"value": value}), of.input)
    causes, batches = [], []
    for train in (jax_loop.train, torch_loop.train):
        run = RunDir(tmp_path / train.__module__)
        with pytest.raises(NonFiniteLossError) as stopped:
            train(of, dataset, run, policy=CheckpointPolicy(steps=checkpoint_every))
        causes.append(stopped.value.cause.replace(str(run.path), "RUN"))
        with np.load(run.nonfinite_file) as kept:
            batches.append(dict(kept))
    for cause in causes:
        assert cause.startswith(first), causes
        assert cause.endswith(f"in step {step} of epoch {epoch}; its batch is in RUN/nonfinite.npz"), causes
    assert batches[0].keys() == batches[1].keys()
    for name, array in batches[0].items():
        np.testing.assert_array_equal(batches[1][name], array, err_msg=name)
