"""``jaxnn train --tensorboard``: what TensorBoard reads is what metrics.jsonl says, each step once."""

import shutil
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("tensorboard")

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxnn import recipes
from jaxnn.cli import main
from jaxnn.cli.event_log import EventLog
from jaxnn.run_dir import RunDir
from jaxnn.together import Job

DIGITS = ["train", "mnist-mlp", "--dataset", "digits", "--batch-size", "64"]  # 23 steps an epoch
TAGS = {
    "loss/train": "train_loss",
    "loss/test": "test_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/test": "test_accuracy",
    "learning_rate": "learning_rate",
    "examples_per_second": "examples_per_second",
}

Points = dict[str, list[tuple[int, float]]]


def train(run: Path, *options: str) -> int:
    return main([*DIGITS, "--tensorboard", "--out", str(run), *options])


def read(run: Path) -> Points:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def require_rows(run: Path) -> Points:
    """The points of a run, once they are known to be its rows of metrics."""
    points, rows = read(run), RunDir(run).read_metrics()
    for tag, name in TAGS.items():
        assert points[tag] == [(row["step"], float(np.float32(row[name]))) for row in rows], tag
    return points


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of PyTorch's processes; waiting for each other costs more than they gain."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("framework", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_steps_trained_again_have_one_point(framework: str, tmp_path: Path) -> None:
    """Cut short within an epoch, gone on, and set back as a crash does it: the points of a run left alone."""
    broken, alone = tmp_path / "broken", tmp_path / "alone"
    options = ["--framework", framework, "--log-every", "10"]
    assert train(alone, *options, "--epochs", "3") == 0
    assert train(broken, *options, "--steps", "30", "--epochs", "3") == 0
    require_rows(broken)
    shutil.copytree(broken / "checkpoints", tmp_path / "saved")
    for _ in range(2):
        shutil.rmtree(broken / "checkpoints")
        shutil.copytree(tmp_path / "saved", broken / "checkpoints")
        assert train(broken, *options, "--epochs", "3", "--steps", "69", "--resume") == 0
    found, expected = require_rows(broken), require_rows(alone)
    # Where the epoch was cut, its row has replaced what was there.
    assert [step for step, _ in expected["loss/running"]] == [10, 20, 33, 43, 56, 66]
    for tag in expected.keys() - {"examples_per_second"}:
        assert found[tag] == expected[tag], tag


@pytest.mark.parametrize("framework", ["jax", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow])])
def test_a_log_begun_later_has_the_rows_from_before(framework: str, tmp_path: Path) -> None:
    command = [*DIGITS, "--framework", framework, "--out", str(tmp_path / "run")]
    assert main([*command, "--epochs", "2"]) == 0
    assert train(tmp_path / "run", "--resume", "--epochs", "4") == 0
    points = require_rows(tmp_path / "run")
    steps = [step for step, _ in points["loss/running"]]
    assert steps == sorted(set(steps)) and min(steps) > 46 and max(steps) == 92


def test_pytorch_may_be_further_than_its_events(tmp_path: Path) -> None:
    """Its process has written the row of epoch 2 before the first event of that epoch is read."""
    run = RunDir(tmp_path)
    rows = [{"epoch": epoch, "step": 10 * epoch, **dict.fromkeys(TAGS.values(), 0.25 * epoch)} for epoch in (1, 2)]
    run.write_metrics(rows)
    with EventLog([], resume=True) as log:
        take = log.of_pytorch(Job(recipes.get("mnist-mlp"), cast("Any", None), run))
        progress = {"epoch": 2, "step": 5, "steps_per_epoch": 10, "running_loss": None, "accuracy": 0.5}
        take("progress", progress | {"losses": [0.5, 1.0, 0.75, 0.75, 0.75]})
        take("epoch", rows[1])
    assert require_rows(tmp_path)["loss/running"] == [(15, 0.75)]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("logged", [False, True])
def test_pytorch_may_have_no_step_left_to_take(logged: bool, again: bool, tmp_path: Path) -> None:
    """Stopped within epoch 2 and gone on to that very step; killed in between with that epoch's row, or not."""
    run = RunDir(tmp_path)
    rows = [{"epoch": 1, "step": 10}, {"epoch": 2, "step": 15}]
    rows = [row | dict.fromkeys(TAGS.values(), 0.25 * row["epoch"]) for row in rows]
    job = Job(recipes.get("mnist-mlp"), cast("Any", None), run)
    tmp_path.joinpath("recipe.json").touch()
    if logged:
        run.write_metrics(rows[:1])
        with EventLog([job], resume=True) as log:
            log.started(run, 10)
            log.measured(run, 15, {"running_loss": 0.5})
            if again:
                log.measured(run, 15, rows[1])
    run.write_metrics(rows if again else rows[:1])
    with EventLog([job], resume=True) as log:
        run.write_metrics(rows)  # its process does, before the event
        log.of_pytorch(job)("epoch", rows[1])
    expected = [(15, 0.5)] if logged and not again else []
    assert require_rows(tmp_path).get("loss/running", []) == expected


def test_a_run_that_is_replaced_takes_its_log_along(tmp_path: Path) -> None:
    for options, epochs in ((["--epochs", "1"], 1), (["--resume", "--epochs", "2"], 2), (["--overwrite"], 1)):
        assert train(tmp_path / "run", "--epochs", "1", *options) == 0
        assert len(require_rows(tmp_path / "run")["loss/test"]) == epochs
    assert main([*DIGITS, "--out", str(tmp_path / "run"), "--overwrite", "--epochs", "1"]) == 0
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_damaged_run_can_be_replaced(tmp_path: Path) -> None:
    assert train(tmp_path / "run", "--epochs", "1") == 0
    RunDir(tmp_path / "run").metrics_file.write_text("{}\n[\n")
    assert train(tmp_path / "run", "--epochs", "1", "--resume") == 2
    assert train(tmp_path / "run", "--epochs", "1", "--overwrite") == 0
    require_rows(tmp_path / "run")


def test_each_of_several_runs_has_its_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when one stops and the others go on."""
    options = ["--optimizer.name", "sgd", "--sweep", "optimizer.learning-rate=1e6,0.1,0.2", "--epochs", "2"]
    assert train(tmp_path / "runs", *options, "--batch-size", "10", "--log-every", "50") == 1
    assert "3 runs together" in capsys.readouterr().out
    found = {}
    for value in ("0.1", "0.2"):
        found[value] = require_rows(tmp_path / "runs" / f"optimizer.learning_rate={value}")
    assert all(found["0.1"][tag] != found["0.2"][tag] for tag in ("loss/test", "loss/running"))
    stopped = read(tmp_path / "runs" / "optimizer.learning_rate=1e6")
    assert "loss/test" not in stopped


def test_tensorboard_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert train(tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "pip install 'jaxnn[tensorboard]'" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
