"""The loop: same bits however it runs, stops and resumes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn import data, experiment, loop, precision, recipes
from jaxnn.checkpoint import Checkpoints
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import Dataset, Split
from jaxnn.errors import Interrupted, NonFiniteLossError, UserError
from jaxnn.loop import Hooks
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir

EPOCH = 6  # steps: five full batches and a tail


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """57 training and 40 test images."""
    whole = data.load("digits")
    train, test = (Split(s.inputs[:n], s.labels[:n]) for s, n in ((whole.train, 57), (whole.test, 40)))
    return Dataset("digits", train, test, whole.classes, whole.source)


def recipe(name: str = "mnist-mlp", /, **changes: Any) -> Recipe:
    return recipes.get(name, dataset="digits").replace(**{"batch_size": 10, "epochs": 3, "log_every": None} | changes)


def prepared(of: Recipe, dataset: Dataset) -> Dataset:
    return data.prepare(dataset, of.input)


def end(run: RunDir) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """All that a run leaves but its timings: rows, and the newest checkpoint's arrays."""
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in run.read_metrics()]
    of, _ = run.read_recipe()
    with Checkpoints(run.checkpoints) as checkpoints:
        saved = checkpoints.restore(checkpoints.steps[-1], None)
    leaves = {str(path): leaf for path, leaf in _flatten(saved.state)}
    return rows, leaves | {"stream": np.array(str(saved.position["stream"]))}


def _flatten(tree: Any) -> list[tuple[Any, Any]]:
    import jax

    return jax.tree_util.tree_flatten_with_path(tree)[0]


def assert_same(first: RunDir, second: RunDir) -> None:
    rows, leaves = end(first)
    other_rows, other_leaves = end(second)
    assert rows == other_rows
    assert leaves.keys() == other_leaves.keys()
    for name, leaf in leaves.items():
        np.testing.assert_array_equal(leaf, other_leaves[name], err_msg=name)


VARIETY = {
    "adam": recipe(),
    "dropout": recipe(**{"model.dropout": 0.3}),
    "jax streams": recipe(**{"model.dropout": 0.3, "rng": "jax"}),
    "batch norm, momentum, cosine": recipe(
        "fashion-mlp-bn", **{"optimizer.momentum": 0.9, "schedule.name": "cosine", "optimizer.learning_rate": 0.05}
    ),
    "augmented, frozen": recipe(
        "lenet", **{"augment.crop": 3, "augment.flip": True, "freeze_backbone": True, "optimizer.momentum": 0.9}
    ),
    "one-cycle by steps": recipe("lenet", **{"schedule.name": "one_cycle", "optimizer.momentum": 0.9, "steps": 15}),
    "plateau, float64": recipe(
        "mnist-mlp", **{"schedule.name": "plateau", "schedule.patience": 0, "precision": "float64"}
    ),
}


@pytest.mark.parametrize(
    ("name", "stop"), [*((name, 8) for name in VARIETY), ("adam", 1), ("dropout", EPOCH - 1), ("adam", EPOCH)]
)
def test_stopped_and_resumed_ends_with_the_same_bits(name: str, stop: int, digits: Dataset, tmp_path: Path) -> None:
    of = VARIETY[name].replace(log_every=1)  # looks after each step whether to stop
    dataset = prepared(of, digits)
    whole, broken = RunDir(tmp_path / "whole"), RunDir(tmp_path / "broken")
    loop.train(of, dataset, whole)
    steps = 0

    def count(**_: Any) -> None:
        nonlocal steps
        steps += 1

    with pytest.raises(Interrupted) as stopped:
        loop.train(of, dataset, broken, hooks=Hooks(progress=count, should_stop=lambda: steps >= stop))
    assert stopped.value.step == stop
    loop.train(of, dataset, broken, resume=True)
    assert_same(whole, broken)
    reproduced = loop.evaluate(of, dataset, broken)
    last = broken.read_metrics()[-1]
    assert (reproduced["test_loss"], reproduced["test_accuracy"]) == (last["test_loss"], last["test_accuracy"])


def test_checkpoints_inside_an_epoch_survive_a_crash_and_damage(digits: Dataset, tmp_path: Path) -> None:
    of = recipe(log_every=1)
    dataset = prepared(of, digits)
    whole, broken = RunDir(tmp_path / "whole"), RunDir(tmp_path / "broken")
    loop.train(of, dataset, whole)

    def crash(epoch: int, step: int, **_: Any) -> None:
        if (epoch, step) == (2, 5):
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        loop.train(of, dataset, broken, policy=CheckpointPolicy(steps=2), hooks=Hooks(progress=crash))
    assert _steps(broken) == [EPOCH, 8, 10]  # the best, and the newest two
    (broken.checkpoints / "10" / "checkpoint.json").unlink()
    notices: list[str] = []
    loop.train(of, dataset, broken, resume=True, hooks=Hooks(notice=notices.append))
    assert len(notices) == 1 and "10 is damaged" in notices[0]
    assert_same(whole, broken)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_over(digits: Dataset, tmp_path: Path) -> None:
    of = recipe()
    dataset, run = prepared(of, digits), RunDir(tmp_path)
    loop.train(of, dataset, run)
    for file in run.checkpoints.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    before = sorted(run.path.rglob("*"))
    for again in (lambda: loop.train(of, dataset, run, resume=True), lambda: loop.evaluate(of, dataset, run)):
        with pytest.raises(UserError, match="no checkpoint in .* can be read; train anew with --overwrite"):
            again()
    assert sorted(run.path.rglob("*")) == before and len(run.read_metrics()) == 3


def test_a_crash_before_the_last_evaluation_is_made_good(digits: Dataset, tmp_path: Path) -> None:
    of = recipe()
    dataset = prepared(of, digits)
    whole, broken = RunDir(tmp_path / "whole"), RunDir(tmp_path / "broken")
    loop.train(of, dataset, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Loop, "_end_epoch", _crash_in_epoch_3(loop._Loop._end_epoch))
        with pytest.raises(RuntimeError):
            loop.train(of, dataset, broken, policy=CheckpointPolicy(steps=EPOCH))
    assert _steps(broken) == [EPOCH, 2 * EPOCH] and len(broken.read_metrics()) == 2
    assert loop.train(of, dataset, broken, resume=True)["epoch"] == 3
    assert end(whole)[0] == end(broken)[0]


def _crash_in_epoch_3(end_epoch: Any) -> Any:
    def crash(self: Any, learning_rate: float) -> None:
        if self.position.epoch == 3:
            raise RuntimeError("power cut")
        end_epoch(self, learning_rate)

    return crash


def test_lost_rows_are_said(digits: Dataset, tmp_path: Path) -> None:
    of = recipe(epochs=5)
    dataset, run = prepared(of, digits), RunDir(tmp_path)
    loop.train(of.replace(epochs=4), dataset, run)
    rows = run.read_metrics()
    run.write_metrics([rows[0], rows[3]])
    notices: list[str] = []
    loop.train(of, dataset, run, resume=True, hooks=Hooks(notice=notices.append))
    assert notices == [f"{run.metrics_file} has lost 2 rows, the first that of epoch 2; training goes on without"]
    assert [row["epoch"] for row in run.read_metrics()] == [1, 4, 5]


def test_fewer_steps_than_were_trained_are_refused(digits: Dataset, tmp_path: Path) -> None:
    of = recipe()
    dataset, run = prepared(of, digits), RunDir(tmp_path)
    loop.train(of, dataset, run)
    with pytest.raises(UserError, match="has trained 18 steps already"):
        loop.train(of.replace(epochs=1), dataset, run, resume=True)
    assert run.read_recipe()[0].epochs == 3


def _steps(run: RunDir) -> list[int]:
    with Checkpoints(run.checkpoints) as checkpoints:
        return checkpoints.steps


def test_a_finished_run_is_left_alone_and_a_longer_one_goes_on(digits: Dataset, tmp_path: Path) -> None:
    of = recipe()
    dataset = prepared(of, digits)
    whole, grown = RunDir(tmp_path / "whole"), RunDir(tmp_path / "grown")
    loop.train(of, dataset, whole)
    loop.train(of.replace(steps=8), dataset, grown)  # ends inside the second epoch, which gets its row
    assert [(row["epoch"], row["step"]) for row in grown.read_metrics()] == [(1, 6), (2, 8)]
    notices: list[str] = []
    row = loop.train(of.replace(steps=8), dataset, grown, resume=True, hooks=Hooks(notice=notices.append))
    assert row["step"] == 8 and "finished already" in notices[0]
    loop.train(of, dataset, grown, resume=True)
    assert_same(whole, grown)


@pytest.mark.parametrize(
    "of",
    [
        recipe("mnist-mlp"),
        recipe("fashion-mlp-bn"),
        pytest.param(recipe("lenet"), marks=pytest.mark.slow),
        VARIETY["augmented, frozen"],
    ],
    ids=["mnist-mlp", "fashion-mlp-bn", "lenet", "augmented, frozen"],
)
def test_compiled_epoch_single_steps_and_streaming_agree(of: Recipe, digits: Dataset, tmp_path: Path) -> None:
    of = of.replace(precision="float64")
    dataset = prepared(of, digits)
    runs = {}
    for way, options in {"epoch": {}, "step": {}, "streamed": {"memory_limit": 0}}.items():
        runs[way] = RunDir(tmp_path / way)
        dispatch = "epoch" if way == "epoch" else "step"
        loop.train(of.replace(dispatch=dispatch), dataset, runs[way], **options)
    assert_same(runs["step"], runs["streamed"])
    rows, leaves = end(runs["step"])
    other_rows, other_leaves = end(runs["epoch"])
    for leaf, value in leaves.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(other_leaves[leaf], value, rtol=0, atol=1e-12, err_msg=leaf)
    assert [row["test_accuracy"] for row in rows] == [row["test_accuracy"] for row in other_rows]


@pytest.mark.parametrize("dispatch", ["epoch", "step"])
def test_the_second_step_never_recompiles(dispatch: str, digits: Dataset) -> None:
    of = recipe(dispatch=dispatch)
    ready, state = experiment.build(of, prepared(of, digits), precision.DTYPES["float32"])
    for epoch in (1, 2, 3):
        parts, _ = ready.epoch_parts(epoch)
        for part in parts:
            record = experiment.empty_record(len(part.examples), ready.dtypes)
            for start in range(len(part.examples)):
                state, record = ready.advance(state, record, part, start, start + 1)
        ready.evaluate(state, ready.test)
    program: Any = ready.program.train_steps if dispatch == "epoch" else ready.program.train_step
    assert program._cache_size() == 2  # the full batch and the tail
    evaluation: Any = ready.program.eval_steps if dispatch == "epoch" else ready.program.eval_step
    assert evaluation._cache_size() == 1


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(digits: Dataset, tmp_path: Path) -> None:
    explodes = {"schedule.name": "step", "schedule.step_size": 3, "schedule.gamma": 1e35}
    of = recipe(**{"optimizer.name": "sgd", "optimizer.learning_rate": 0.1, "epochs": 9} | explodes)
    dataset = prepared(of, digits)
    run = RunDir(tmp_path)
    with pytest.raises(NonFiniteLossError) as stopped:
        loop.train(of, dataset, run, policy=CheckpointPolicy(steps=EPOCH))
    assert (stopped.value.epoch, stopped.value.step) == (4, 2)
    assert _steps(run)[-1] == 3 * EPOCH
    assert np.isfinite(loop.evaluate(of, dataset, run)["test_loss"])


def test_last_updates_that_spoil_the_weights_are_noticed(digits: Dataset, tmp_path: Path) -> None:
    of = recipe(**{"optimizer.name": "sgd", "optimizer.learning_rate": 3e38, "steps": 1})
    with pytest.raises(NonFiniteLossError):
        loop.train(of, prepared(of, digits), RunDir(tmp_path))
    assert _steps(RunDir(tmp_path)) == []


def test_other_data_are_refused_on_resume(digits: Dataset, tmp_path: Path) -> None:
    of = recipe()
    loop.train(of, prepared(of, digits), RunDir(tmp_path))
    changed = Dataset(digits.name, digits.test, digits.test, digits.classes, digits.source)
    with pytest.raises(UserError, match="has changed since"):
        loop.train(of, prepared(of, changed), RunDir(tmp_path), resume=True)


def test_a_small_set_shrinks_the_default_batch(digits: Dataset, tmp_path: Path) -> None:
    notices: list[str] = []
    of = recipe(batch_size=1000)
    row = loop.train(of, prepared(of, digits), RunDir(tmp_path), hooks=Hooks(notice=notices.append))
    assert row["step"] == 3 and "shrinks to 57" in notices[0]


def test_progress_is_the_documents_running_loss(digits: Dataset, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    of = recipe(epochs=1, log_every=1)
    loop.train(of, prepared(of, digits), RunDir(tmp_path / "a"), hooks=Hooks(progress=lambda **p: seen.append(p)))
    losses = [p["running_loss"] for p in seen]
    assert [p["step"] for p in seen] == [1, 2, 3, 4, 5, 6]
    pairs: list[dict[str, Any]] = []
    hooks = Hooks(progress=lambda **p: pairs.append(p))
    row = loop.train(of.replace(log_every=2), prepared(of, digits), RunDir(tmp_path / "b"), hooks=hooks)
    running = [p["running_loss"] for p in pairs if p["running_loss"] is not None]  # None between the reports
    assert running == pytest.approx([np.mean(losses[i : i + 2]) for i in (0, 2, 4)], rel=1e-6)
    assert row["train_loss"] == pytest.approx(np.average(losses, weights=[10] * 5 + [7]))
    assert row["train_accuracy"] == pairs[-1]["accuracy"]
