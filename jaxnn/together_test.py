"""Runs trained together: each as if it were alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxnn import data, experiment, loop, recipes, together
from jaxnn.checkpoint import Checkpoints
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import Dataset
from jaxnn.errors import Interrupted, NonFiniteLossError
from jaxnn.loop import Hooks
from jaxnn.loop_test import assert_same, end
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.together import Job

TEN = {"batch_size": 10, "epochs": 3, "log_every": None, "precision": "float64"}
SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.05}


def digits(name: str, **changes: Any) -> Recipe:
    return recipes.get(name, dataset="digits").replace(**TEN | changes)


def each(recipe: Recipe, *changes: dict[str, Any]) -> list[Recipe]:
    return [recipe.replace(**change) for change in changes]


SEEDS = [{"seed": seed} for seed in (1, 2, 3)]
TWO = SEEDS[:2]
TOGETHER: dict[str, Sequence[Recipe]] = {
    "adam": each(digits("mnist-mlp"), *SEEDS),
    "in single steps": each(digits("mnist-mlp", dispatch="step"), *TWO),
    "batch norm": each(digits("fashion-mlp-bn"), *TWO),
    "dropout": each(digits("mnist-mlp", **{"model.dropout": 0.3}), *TWO),
    "dropout of JAX's streams": each(digits("mnist-mlp", rng="jax", **{"model.dropout": 0.3}), *TWO),
    "a tail, an end inside an epoch": each(digits("mnist-mlp", steps=9), *TWO),
    "augmented": each(digits("mnist-mlp", **{"augment.crop": 4, "augment.flip": True}), *TWO),
    "frozen": each(digits("mnist-mlp", freeze_backbone=True), *TWO),
    "learning rates": each(digits("fashion-mlp"), *({"optimizer.learning_rate": rate} for rate in (0.01, 0.1))),
    "momenta": each(digits("mnist-mlp", **SGD), *({"optimizer.momentum": momentum} for momentum in (0.5, 0.9))),
    "schedules": each(
        digits("mnist-mlp", **SGD),
        {"schedule.name": "step", "schedule.step_size": 1, "schedule.gamma": 0.5},
        {"schedule.name": "cosine"},
        {"schedule.name": "plateau", "schedule.patience": 0, "schedule.monitor": "test_accuracy"},
        {"schedule.name": "plateau", "schedule.patience": 1, "schedule.threshold": 0.5},
    ),
    "one-cycle": each(
        digits("mnist-mlp", **{"schedule.name": "one_cycle"}), {"schedule.max_lr": 0.01}, {"schedule.max_lr": 0.02}
    ),
    "a data set for each seed": each(recipes.get("tabular-mlp").replace(precision="float64", steps=20), *TWO),
}


@pytest.fixture(scope="module")
def small() -> Dataset:
    """57 training and 40 test images."""
    whole = data.load("digits")
    train, test = (data.Split(s.inputs[:n], s.labels[:n]) for s, n in ((whole.train, 57), (whole.test, 40)))
    return data.prepare(Dataset("digits", train, test, whole.classes, whole.source), digits("mnist-mlp").input)


def jobs(of: Sequence[Recipe], small: Dataset, path: Path) -> list[Job]:
    def dataset(recipe: Recipe) -> Dataset:
        if recipe.dataset == "digits":
            return small
        return data.prepare(data.load(recipe.dataset, seed=recipe.seed), recipe.input)

    return [Job(recipe, dataset(recipe), RunDir(path / str(number))) for number, recipe in enumerate(of)]


# Alike but for the numbers that a step is given, which "one-cycle" has differ, or in what others also have.
REPEATED = {"dropout of JAX's streams", "learning rates", "momenta", "schedules"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in REPEATED else []) for name in TOGETHER]
)
def test_each_run_is_what_it_is_alone(name: str, small: Dataset, tmp_path: Path) -> None:
    """Vmapped products add in another order; in float64 that is far below 1e-12."""
    group = jobs(TOGETHER[name], small, tmp_path / "together")
    assert together.groups(group) == [group]
    loop.train_together(group)
    for job, alone in zip(group, jobs(TOGETHER[name], small, tmp_path / "alone"), strict=True):
        loop.train(*alone)
        (rows, leaves), (own_rows, own_leaves) = end(job.run), end(alone.run)
        assert leaves.keys() == own_leaves.keys() and len(rows) == len(own_rows)
        assert leaves.pop("stream") == own_leaves["stream"]
        for leaf, value in leaves.items():
            np.testing.assert_allclose(value, own_leaves[leaf], rtol=1e-12, atol=1e-12, err_msg=leaf)
        for row, own in zip(rows, own_rows, strict=True):
            assert row.pop("test_class_accuracy") == own.pop("test_class_accuracy")
            assert row == pytest.approx(own, rel=1e-12, abs=1e-12)
        reproduced = loop.evaluate(*job)
        assert reproduced["test_loss"] == pytest.approx(own_rows[-1]["test_loss"], rel=1e-12)


def test_what_changes_the_program_is_trained_apart(small: Dataset, tmp_path: Path) -> None:
    base = digits("mnist-mlp", **SGD)
    apart = [
        *({"batch_size": size} for size in (10, 20)),
        {"optimizer.momentum": 0.9},
        {"schedule.name": "one_cycle", "schedule.max_lr": 0.1, "batch_size": 20},  # brings a momentum
        {"model.hidden": (8,)},
        {"epochs": 4},
    ]
    both = [job for seed in (1, 2) for job in jobs(each(base.replace(seed=seed), *apart), small, tmp_path / str(seed))]
    assert [[both.index(job) for job in group] for group in together.groups(both)] == [[i, i + 6] for i in range(6)]
    assert experiment.pays_together(both)
    assert not experiment.pays_together(both, memory_limit=0)
    if jax.default_backend() == "cpu":
        for name, size in {"lenet": 1, "mnist-mlp": 50}.items():
            assert not experiment.pays_together(jobs([digits(name, batch_size=size)], small, tmp_path))


def stopping_after(steps: int) -> Hooks:
    seen: list[int] = []
    return Hooks(progress=lambda step, **_: seen.append(step), should_stop=lambda: len(seen) >= steps)


def to_be_stopped() -> list[Recipe]:
    return each(digits("mnist-mlp", log_every=1, **{"schedule.name": "plateau"}), *TWO)


@pytest.fixture(scope="module")
def whole(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Two runs trained together to their end."""
    group = jobs(to_be_stopped(), small, tmp_path_factory.mktemp("whole"))
    loop.train_together(group)
    return group


@pytest.mark.parametrize(
    ("last", "damaged"),
    [(8, None), (7, None), (6, None), (0, None), (7, 7)],
    ids=["in step", "one ahead", "at the best", "without a common step", "a damaged common step"],
)
def test_stopped_and_resumed_ends_with_the_same_bits(
    last: int, damaged: int | None, whole: list[Job], small: Dataset, tmp_path: Path
) -> None:
    """Also where a crash between two runs' checkpoints left one run behind."""
    broken = jobs(to_be_stopped(), small, tmp_path)
    with pytest.raises(Interrupted) as stopped:
        loop.train_together(broken, policy=CheckpointPolicy(steps=1), hooks=stopping_after(8))
    assert stopped.value.step == 8
    with Checkpoints(broken[1].run.checkpoints) as checkpoints:
        assert checkpoints.steps == [6, 7, 8]  # the best, and the newest two
        checkpoints.discard_after(last)
    if damaged is not None:
        (broken[0].run.checkpoints / str(damaged) / "checkpoint.json").unlink()
    epochs, notices = list[int](), list[str]()
    loop.train_together(
        broken, resume=True, hooks=Hooks(notice=notices.append, epoch=lambda rows: epochs.append(len(rows)))
    )
    assert epochs == ({0: [1] * 5, 7: [1] * 4}[last] if damaged is not None or last == 0 else [2, 2])
    assert ["goes on from step 8 by itself" in notice for notice in notices] == [True] * (damaged is not None)
    for job, other in zip(whole, broken, strict=True):
        assert_same(job.run, other.run)
        assert [row["epoch"] for row in other.run.read_metrics()] == [1, 2, 3]


def test_later_seeds_join_and_finished_ones_are_left(small: Dataset, tmp_path: Path) -> None:
    group = jobs(each(digits("mnist-mlp"), *SEEDS), small, tmp_path)
    loop.train_together(group[:1])
    before = (group[0].run.metrics_file).read_bytes()
    notices: list[str] = []
    epochs: list[int] = []
    hooks = Hooks(notice=notices.append, epoch=lambda rows: epochs.append(len(rows)))
    rows = loop.train_together(group, resume=True, hooks=hooks)
    assert len(notices) == 1 and "finished already" in notices[0] and epochs == [2, 2, 2]
    assert group[0].run.metrics_file.read_bytes() == before
    assert [isinstance(row, dict) and row["epoch"] for row in rows] == [3, 3, 3]


def test_a_run_that_diverges_stops_alone(small: Dataset, tmp_path: Path) -> None:
    decay = {"schedule.name": "step", "schedule.step_size": 1}
    of = each(digits("mnist-mlp", **SGD | decay), {"schedule.gamma": 3e38}, {"schedule.gamma": 0.5})
    diverging, good = jobs(of, small, tmp_path / "together")
    failure, row = loop.train_together([diverging, good])
    assert isinstance(failure, NonFiniteLossError) and failure.epoch == 2
    assert [r["epoch"] for r in diverging.run.read_metrics()] == [1]
    assert loop.evaluate(*diverging)["test_loss"] == diverging.run.read_metrics()[-1]["test_loss"]
    alone = Job(good.recipe, good.dataset, RunDir(tmp_path / "alone"))
    assert isinstance(row, dict) and row["test_loss"] == pytest.approx(loop.train(*alone)["test_loss"], rel=1e-12)
    both = loop.train_together([diverging, diverging._replace(run=RunDir(tmp_path / "twin"))])
    assert all(isinstance(outcome, NonFiniteLossError) for outcome in both)
