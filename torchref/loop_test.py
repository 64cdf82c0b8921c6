"""Whole runs: against a plain PyTorch script, resumed to the same bits, cut, diverging, refused."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import Dataset, UserError
from jaxnn.recipe import (
    Augment,
    Clip,
    FashionMLP,
    Input,
    LeNet,
    Loss,
    MnistMLP,
    Optimizer,
    Recipe,
    Schedule,
    TabularMLP,
)
from jaxnn.run_dir import Interrupted, NonFiniteLossError, RunDir
from torchref import checkpoint, models
from torchref.evaluate import evaluate
from torchref.loop import train
from torchref.tally import Tally

_SGD = Optimizer(learning_rate=0.1, momentum=0.9)
_MLP = Recipe(
    name="test",
    dataset="rows",
    model=MnistMLP(hidden=(12, 8), dropout=0.25),
    loss=Loss(name="nll"),
    optimizer=_SGD,
    batch_size=10,
    eval_batch_size=7,
    epochs=3,
)
_TIMES = ("seconds", "examples_per_second")


def _untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in _TIMES} for row in rows]


def _parameters(run: RunDir) -> dict[str, torch.Tensor]:
    state = checkpoint.load(run, lambda text: None)
    assert state is not None
    return state["model"]


def _stop_after(steps: int) -> Any:
    calls = iter(range(1, 10_000))
    return lambda: next(calls) >= steps


def _assert_same_run(one: RunDir, other: RunDir) -> None:
    ours, theirs = _parameters(one), _parameters(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert _untimed(one.read_metrics()) == _untimed(other.read_metrics())


def test_equals_a_plain_script(images: Dataset, tmp_path: Path) -> None:
    recipe = _MLP.replace(epochs=2, precision="float64")
    row = train(recipe, images, RunDir(tmp_path))

    torch.manual_seed(420)
    model = models.build(recipe.model, input_shape=(16, 16, 1), outputs=4).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs = torch.tensor(images.train.inputs).permute(0, 3, 1, 2).double() / 255
    loader = DataLoader(TensorDataset(inputs, torch.tensor(images.train.labels).long()), batch_size=10, shuffle=True)
    total, correct = 0.0, 0
    for _ in range(2):
        total, correct = 0.0, 0
        for x, y in loader:
            optimizer.zero_grad()
            outputs = model(x)
            loss = nn.NLLLoss()(outputs, y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
            correct += int((outputs.argmax(1) == y).sum())
    assert row["train_loss"] == pytest.approx(total / 57, rel=1e-14)
    assert row["train_accuracy"] == correct / 57
    mine = _parameters(RunDir(tmp_path))
    assert all(torch.equal(mine[name], value) for name, value in model.state_dict().items())

    model.eval()
    outputs = model(torch.tensor(images.test.inputs).permute(0, 3, 1, 2).double() / 255)
    labels = torch.tensor(images.test.labels).long()
    assert row["test_loss"] == pytest.approx(nn.NLLLoss()(outputs, labels).item(), rel=1e-14)
    assert row["test_accuracy"] == (outputs.argmax(1) == labels).double().mean().item()
    assert (row["epoch"], row["step"], row["learning_rate"]) == (2, 12, 0.1)


RESUMED = {
    "dropout, momentum, one_cycle": {"schedule": Schedule(name="one_cycle", max_lr=0.2)},
    "step, clip": {"schedule": Schedule(name="step", step_size=1), "clip": Clip(norm=0.1)},
    "nadam float64, plateau": {
        "optimizer": Optimizer(name="nadam", learning_rate=0.01),
        "schedule": Schedule(name="plateau", patience=0, threshold=0.9),
        "precision": "float64",
    },
    "adam, cosine, bfloat16": {
        "optimizer": Optimizer(name="adam", learning_rate=0.01, amsgrad=True),
        "schedule": Schedule(name="cosine"),
        "precision": "bfloat16",
    },
    "batch norm, in order": {"model": FashionMLP(hidden=8, batch_norm=True), "shuffle": False, "drop_last": True},
    "lenet, rmsprop, exponential": {
        "model": LeNet(),
        "loss": Loss(),
        "optimizer": Optimizer(name="rmsprop", learning_rate=1e-3, momentum=0.5),
        "schedule": Schedule(name="exponential"),
    },
    "augmented, frozen": {"input": Input(size=16), "augment": Augment(crop=2, flip=True), "freeze_backbone": True},
    "steps": {"steps": 14},
}


@pytest.mark.parametrize("case", RESUMED)
@pytest.mark.parametrize("stop", [1, 6, 8])  # in an epoch, near or at its end, in the next one
def test_resumed_to_the_same_bits(case: str, stop: int, images: Dataset, tmp_path: Path) -> None:
    recipe = _MLP.replace(**RESUMED[case])
    whole, broken = RunDir(tmp_path / "whole"), RunDir(tmp_path / "broken")
    row = train(recipe, images, whole)
    with pytest.raises(Interrupted):
        train(recipe, images, broken, should_stop=_stop_after(stop))
    torch.manual_seed(7)  # a new process has other generators
    assert _untimed([train(recipe, images, broken, resume=True)]) == _untimed([row])
    _assert_same_run(whole, broken)
    measured = evaluate(recipe, images, whole)
    assert [measured[name] for name in ("test_loss", "test_accuracy", "class_accuracy")] == [
        row[name] for name in ("test_loss", "test_accuracy", "test_class_accuracy")
    ]
    counts = torch.bincount(torch.tensor(images.test.labels)).tolist()
    assert measured["examples"] == 23 and [sum(true) for true in measured["confusion"]] == counts
    if recipe.schedule.name == "one_cycle":
        assert row["learning_rate"] == pytest.approx(0.2 / 25 / 1e4)  # of the last step, not of the one after it


def test_killed_between_checkpoints(images: Dataset, tmp_path: Path) -> None:
    whole, killed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    train(_MLP, images, whole)

    def kill(**fields: Any) -> None:
        if (fields["epoch"], fields["step"]) == (2, 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_MLP.replace(log_every=1), images, killed, policy=CheckpointPolicy(steps=3), on_progress=kill)
    assert sorted(path.name for path in killed.checkpoints.iterdir()) == ["step-00000006.pt", "step-00000009.pt"]
    newest = killed.checkpoints / "step-00000009.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    (killed.checkpoints / ".step-00000012.pt.x7").write_bytes(content)  # killed while it was written
    notices: list[str] = []
    with pytest.raises(Interrupted):
        train(_MLP, images, killed, resume=True, on_notice=notices.append, should_stop=_stop_after(2))
    assert len(notices) == 1 and "step-00000009.pt is damaged" in notices[0]
    assert sorted(path.name for path in killed.checkpoints.iterdir()) == ["step-00000006.pt", "step-00000008.pt"]
    train(_MLP, images, killed, resume=True)
    _assert_same_run(whole, killed)


def test_longer_run_and_finished_run(images: Dataset, tmp_path: Path) -> None:
    whole, grown = RunDir(tmp_path / "whole"), RunDir(tmp_path / "grown")
    train(_MLP, images, whole)
    train(_MLP.replace(steps=8), images, grown)
    assert [(row["epoch"], row["step"]) for row in grown.read_metrics()] == [(1, 6), (2, 8)]
    row = train(_MLP, images, grown, resume=True)
    _assert_same_run(whole, grown)
    notices: list[str] = []
    assert train(_MLP, images, grown, resume=True, on_notice=notices.append) == row
    assert len(notices) == 1 and "nothing is left to do" in notices[0]
    grown.metrics_file.unlink()
    train(_MLP, images, grown, resume=True)
    _assert_same_run(whole, grown)


def test_progress_and_rows(table: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(
        name="test",
        dataset="blobs",
        model=TabularMLP(),
        loss=Loss(name="bce", reduction="sum"),
        batch_size=20,
        epochs=2,
        log_every=2,
    )
    reports: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    train(recipe, table, RunDir(tmp_path), on_progress=lambda **f: reports.append(f), on_epoch=rows.append)
    assert [(r["epoch"], r["step"], r["steps_per_epoch"]) for r in reports] == [
        (1, 2, 3),
        (1, 3, 3),
        (2, 2, 3),
        (2, 3, 3),
    ]
    assert [r["running_loss"] is None for r in reports] == [False, True] * 2
    assert [len(r["losses"]) for r in reports] == [2, 1] * 2
    assert rows == RunDir(tmp_path).read_metrics() and len(rows) == 2
    state = checkpoint.load(RunDir(tmp_path), lambda text: None)
    assert state is not None and state["model"]["output.weight"].shape[0] == 1
    # reduction sum: a batch of 20 examples near log 2 each, and the mean of an example in the row
    assert reports[0]["running_loss"] == pytest.approx(20 * 0.69, rel=0.2)
    assert rows[0]["train_loss"] == pytest.approx(0.69, rel=0.2)
    assert all(row["seconds"] > 0 and row["examples_per_second"] > 0 for row in rows)


def test_full_batch_and_shrunken_batch(table: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(name="test", dataset="blobs", model=TabularMLP(), epochs=2)
    notices: list[str] = []
    full = train(recipe, table, RunDir(tmp_path / "full"), on_notice=notices.append)
    assert not notices
    shrunk = RunDir(tmp_path / "shrunk")
    row = train(recipe.replace(batch_size=1000), table, shrunk, on_notice=notices.append)
    assert len(notices) == 1 and "1000" in notices[0] and "57" in notices[0]
    assert _untimed([row]) == _untimed([full]) and row["step"] == 2
    assert shrunk.read_recipe()[0].batch_size == 1000  # what was asked for, so that --resume finds it unchanged


_DIVERGING = Recipe(name="test", dataset="rows", model=LeNet(), loss=Loss(name="mse"), batch_size=10, shuffle=False)


@pytest.mark.parametrize("checkpoint_every", [1, 1000])
@pytest.mark.parametrize("reduction", ["mean", "sum"])  # sum: the first update makes the weights infinite
def test_divergence_stops_at_its_first_step(
    reduction: str, checkpoint_every: int, images: Dataset, tmp_path: Path
) -> None:
    rate = {"mean": 1e12, "sum": 1e38}[reduction]
    recipe = _DIVERGING.replace(**{"loss.reduction": reduction, "optimizer.learning_rate": rate})
    run, watched = RunDir(tmp_path / "run"), RunDir(tmp_path / "watched")
    steps: list[int] = []
    with pytest.raises(NonFiniteLossError) as first:
        train(recipe.replace(log_every=1), images, watched, on_progress=lambda **fields: steps.append(fields["step"]))
    with pytest.raises(NonFiniteLossError) as caught:
        train(recipe, images, run, policy=CheckpointPolicy(steps=checkpoint_every))
    assert (caught.value.epoch, caught.value.step) == (1, len(steps) + 1) == (first.value.epoch, first.value.step)
    for path in run.checkpoints.iterdir():
        assert all(value.isfinite().all() for value in torch.load(path, weights_only=True)["model"].values())
    assert run.read_metrics() == []


def test_steps_that_were_skipped_before_are_no_divergence() -> None:
    tally = Tally(losses=torch.tensor([0.5, math.nan], dtype=torch.float64), correct=torch.tensor([1, 0]))
    tally.add(torch.tensor(0.25), torch.tensor(2))
    tally.settle(epoch=1)
    assert tally.skipped == 1
    tally.add(torch.tensor(math.inf), torch.tensor(0))
    with pytest.raises(NonFiniteLossError) as stopped:
        tally.settle(epoch=1)
    assert stopped.value.step == 4


def test_divergence_in_the_last_step(images: Dataset, tmp_path: Path) -> None:
    recipe = _DIVERGING.replace(**{"loss.reduction": "sum", "optimizer.learning_rate": 1e38}, steps=1)
    with pytest.raises(NonFiniteLossError):
        train(recipe, images, RunDir(tmp_path))
    assert RunDir(tmp_path).read_metrics() == [] and not list(RunDir(tmp_path).checkpoints.iterdir())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rng": "jax"}, "rng 'jax'"),
        ({"loss": Loss(name="bce")}, "log-softmax"),
        ({"loss": Loss(name="nll", weight=(1.0,))}, "one weight for each of 4"),
    ],
)
def test_bad_recipes_leave_nothing_behind(changes: dict[str, Any], says: str, images: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        train(_MLP.replace(**changes), images, RunDir(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_other_runs_are_not_resumed(images: Dataset, table: Dataset, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(UserError, match="no checkpoint yet"):
        evaluate(_MLP, images, run)
    train(_MLP.replace(epochs=1), images, run, resume=True)
    with pytest.raises(UserError, match="does not fit data set blobs"):
        evaluate(_MLP, table, run)
    other = Dataset(images.name, images.train, images.train, images.classes, images.source)
    with pytest.raises(UserError, match="has changed"):
        train(_MLP, other, run, resume=True)
    for path in run.checkpoints.iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="no checkpoint in .* can be read"):
        train(_MLP, images, run, resume=True)
    train(_MLP, images, run)  # without resume, a new run replaces the old one
    run.write_recipe(_MLP, "jax")
    with pytest.raises(UserError, match="--framework jax"):
        train(_MLP, images, run, resume=True)


@pytest.mark.parametrize("name", ["one_cycle", "cosine"])
def test_schedules_of_another_length_are_refused(name: str, images: Dataset, tmp_path: Path) -> None:
    recipe = _MLP.replace(**{"schedule.name": name}, epochs=1)
    train(recipe, images, RunDir(tmp_path))
    with pytest.raises(UserError, match="was scheduled for"):
        train(recipe.replace(epochs=2), images, RunDir(tmp_path), resume=True)


def test_evaluation_leaves_the_generator(images: Dataset, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    train(_MLP, images, run)
    before = torch.get_rng_state()
    evaluate(_MLP, images, run, "train")
    assert torch.equal(torch.get_rng_state(), before)
