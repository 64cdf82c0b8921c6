"""Losses that are not finite: where the first bad tensor is, and what a skipped step leaves."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn import bad_batch, data, loop, recipes
from jaxnn.data import Dataset, Split
from jaxnn.errors import NonFiniteLossError
from jaxnn.interop import export_run, weights
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir

STEPS = 6  # in an epoch


def table(**poison: float) -> Dataset:
    """60 rows of four columns, in which row 34 may have a poisoned value."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(80, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int32)
    if poison:
        inputs[34, 2] = poison["value"]
    train, test = Split(inputs[:60], labels[:60]), Split(inputs[60:], labels[60:])
    return Dataset("rows", train, test, ("no", "yes"), "here")


def recipe(**changes: Any) -> Recipe:
    base = {"batch_size": 10, "epochs": 3, "shuffle": False, "input.standardize": False, "precision": "float64"}
    return recipes.get("breast-cancer").replace(**base | changes)


@pytest.mark.parametrize("dispatch", ["epoch", "step"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_bad_tensor_is_named_and_its_batch_kept(value: float, dispatch: str, tmp_path: Path) -> None:
    of, dataset, run = recipe(dispatch=dispatch), table(value=value), RunDir(tmp_path)
    with pytest.raises(NonFiniteLossError) as stopped:
        loop.train(of, data.prepare(dataset, of.input), run)
    error = stopped.value
    assert (error.epoch, error.step) == (1, 4)
    first = "the inputs (float64, 10x4) is the first tensor that is not finite, in 1 of 40 values, in step 4 of epoch 1"
    assert error.cause == f"{first}; its batch is in {run.nonfinite_file}"
    with np.load(run.nonfinite_file) as batch:
        np.testing.assert_array_equal(batch["examples"], np.arange(30, 40))
        np.testing.assert_array_equal(batch["labels"], dataset.train.labels[30:40])
        np.testing.assert_allclose(batch["inputs"], dataset.train.inputs[30:40], rtol=1e-6)
        assert (batch["epoch"], batch["step"]) == (1, 4)


def test_a_resumed_run_needs_its_file_of_weights_no_more(tmp_path: Path) -> None:
    of, dataset, run = recipe(steps=3), data.prepare(table(value=np.nan), recipe().input), RunDir(tmp_path / "run")
    loop.train(of, dataset, run)
    file = tmp_path / "w.safetensors"
    weights.write(file, export_run.weights_of(run, of, "jax", print))
    of = of.replace(weights=str(file))
    loop.train(of, dataset, run)
    file.unlink()
    with pytest.raises(NonFiniteLossError) as stopped:
        loop.train(of.replace(steps=6), dataset, run, resume=True)
    assert stopped.value.step == 4 and stopped.value.cause.startswith("the inputs (float64, 10x4)")


def test_weights_that_an_update_spoils(tmp_path: Path) -> None:
    of = recipe(precision="float32", **{"optimizer.learning_rate": 3e38, "loss.reduction": "sum"})
    with pytest.raises(NonFiniteLossError) as stopped:
        loop.train(of, data.prepare(table(), of.input), RunDir(tmp_path))
    assert stopped.value.step == 2  # the first loss
    assert stopped.value.cause.startswith("the updated output.bias (float32, 2) is the first tensor that is not finite")
    assert "in step 1 of epoch 1" in stopped.value.cause
    with np.load(RunDir(tmp_path).nonfinite_file) as batch:
        np.testing.assert_array_equal(batch["examples"], np.arange(10))


def test_a_full_disk_does_not_hide_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(bad_batch, "write_atomically", refuse)
    with pytest.raises(
        NonFiniteLossError, match=r"first tensor .* could not be written to .* \(No space left on device\)"
    ):
        loop.train(recipe(), data.prepare(table(value=np.nan), recipe().input), RunDir(tmp_path))


@pytest.mark.parametrize("dispatch", ["epoch", "step"])
def test_skipped_steps_leave_the_rest_as_if_they_had_not_been(dispatch: str, tmp_path: Path) -> None:
    of = recipe(on_nan="skip", dispatch=dispatch, **{"optimizer.momentum": 0.9})
    poisoned = data.prepare(table(value=np.nan), of.input)
    row = loop.train(of, poisoned, RunDir(tmp_path / "skipped"))
    assert row["skipped_steps"] == 1 and np.isfinite(row["train_loss"]) and row["step"] == 3 * STEPS
    # plain descent without the batch: the same weights, as its schedule is constant
    rest = np.r_[0:30, 40:60]
    without = Dataset(
        "rows",
        Split(poisoned.train.inputs[rest], poisoned.train.labels[rest]),
        poisoned.test,
        poisoned.classes,
        poisoned.source,
    )
    other = loop.train(of, data.prepare(without, of.input), RunDir(tmp_path / "without"))
    assert other["skipped_steps"] == 0
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        assert row[name] == pytest.approx(other[name], rel=1e-13), name


def test_an_epoch_of_which_nothing_is_left(tmp_path: Path) -> None:
    of = recipe(on_nan="skip", batch_size=None)
    with pytest.raises(NonFiniteLossError, match="the inputs .* is the first tensor that is not finite"):
        loop.train(of.replace(log_every=1), data.prepare(table(value=np.nan), of.input), RunDir(tmp_path))
