"""Several processes as torchrun starts them: one that dies, one that is asked to stop, inputs that are refused."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from jaxnn.data import UserError
from jaxnn.recipe import FashionMLP, Input, MnistMLP, Recipe
from jaxnn.run_dir import RunDir
from torchref.distributed import ALONE, Ranks

_ENDLESS = Recipe(
    name="test", dataset="digits", input=Input(size=8), model=MnistMLP(hidden=(8,)), batch_size=200, epochs=10**6
)


def _start(recipe: Recipe | None, folder: Path, *options: str) -> list[subprocess.Popen[str]]:
    """Two processes that train ``recipe`` in ``folder``/run; the first one's standard output is to be read."""
    file = folder / "recipe.json"
    if recipe is not None:
        file.write_text(recipe.to_json())
        options = (*options, "--recipe", str(file))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "torchref", "train", "--out", str(folder / "run"), *options]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            command,
            **{"cwd": Path(__file__).parents[1], "env": os.environ | place | {"RANK": rank, "LOCAL_RANK": rank}},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
        )
        for rank in "01"
    ]


def _events_until(process: subprocess.Popen[str], event: str) -> None:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said = line
        if json.loads(line)["event"] == event:
            return
    assert process.stderr is not None
    pytest.fail(f"no {event}: {said} {process.stderr.read()}")


def _ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_others(lost: int, tmp_path: Path) -> None:
    processes = _start(_ENDLESS, tmp_path)
    _events_until(processes[0], "epoch")
    processes[lost].kill()
    began = time.monotonic()
    code, events, err = _ended(processes[1 - lost])
    assert code == 1 and time.monotonic() - began < 20
    said = events[-1]["message"] if lost == 1 else err
    assert "another process of this training ended" in said and "Traceback" not in err
    processes[lost].wait()


@pytest.mark.slow
def test_one_that_is_asked_to_stop_stops_all_at_one_step(tmp_path: Path) -> None:
    processes = _start(_ENDLESS, tmp_path)
    _events_until(processes[0], "epoch")
    processes[1].send_signal(signal.SIGTERM)
    (first, events, _), (second, none, err) = map(_ended, processes)
    assert (first, second, none, err) == (143, 143, [], "") and "--resume" in events[-1]["message"]
    rows = RunDir(tmp_path / "run").read_metrics()
    # Its last checkpoint is taken up by both; an epoch later they have trained all there is.
    (code, events, err), _ = map(_ended, _start(_ENDLESS.replace(epochs=len(rows) + 1), tmp_path, "--resume"))
    assert code == 0 and events[-1]["epoch"] == len(rows) + 1, err
    # The run has its recipe: it need not be named again.
    (code, again, err), _ = map(_ended, _start(None, tmp_path, "--resume"))
    assert code == 0 and again[-1] == events[-1], err
    (code, refused, _), _ = map(_ended, _start(None, tmp_path))
    assert code == 2 and "--recipe" in refused[-1]["message"]


@pytest.mark.slow
def test_what_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    (code, events, _), (other, none, err) = map(_ended, _start(_ENDLESS.replace(dataset="none.csv"), tmp_path))
    assert (code, other, none, err) == (2, 2, [], "")
    assert [event["event"] for event in events] == ["error"] and "none.csv" in events[0]["message"]


def test_local_statistics_need_an_example_a_process() -> None:
    recipe = Recipe(name="test", dataset=None, model=FashionMLP(batch_norm=True), batch_norm="local")
    model = nn.Sequential(nn.BatchNorm2d(1))
    Ranks(0, 2).require_shares(model, recipe, 2)
    Ranks(0, 3).require_shares(model, recipe.replace(batch_norm="global"), 2)
    ALONE.require_shares(model, recipe, 1)
    with pytest.raises(UserError, match="3 processes.*batch of 2"):
        Ranks(0, 3).require_shares(model, recipe, 2)
