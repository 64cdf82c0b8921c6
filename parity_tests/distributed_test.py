"""Two processes of torchref under torchrun make what one makes, and what JAX makes: in float64, at every step."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from jaxnn import data, recipes
from jaxnn.parity.recording import Arrays
from jaxnn.parity.verdict.tolerances import error, magnitude, tolerances
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from parity_tests import distributed_steps
from torchref import checkpoint, distributed, loop, stepping
from torchref.evaluate import evaluate

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
PROCESSES = 2
KINDS = ("loss", "gradient", "parameter", "buffer")


class Case(NamedTuple):
    recipe: str
    dataset: str
    changes: dict[str, Any]

    def resolve(self) -> Recipe:
        recipe = recipes.get(self.recipe, dataset=self.dataset)
        return recipe.replace(**{"precision": "float64", "log_every": 1, "steps": 100, **self.changes})


# 1437 digits, 455 rows of breast-cancer, 120 irises: shares differ by one example, of every batch or, where a mesh is
# to share them, of the epoch's last one; of the irises' last batch, a single flower, the second process has none. At
# the recipe's learning rate, 0.15, a network of 8 units is chaotic: in 100 steps it makes 1e-8 of rounding.
_SMALL = {"model.hidden": 8, "batch_size": 150, "optimizer.learning_rate": 0.05}
_LOCAL = {"batch_norm": "local", "augment.flip": True, "eval_batch_size": 100}
CASES = {
    "dropout and adam": Case("mnist-mlp", "digits", {"model.hidden": (12, 8), "model.dropout": 0.2, "batch_size": 150}),
    "weights and an empty share": Case(
        "csv", "iris", {"loss.weight": (1.0, 2.0, 0.5), "loss.label_smoothing": 0.1, "batch_size": 7}
    ),
    "one output, summed, clipped": Case(
        "breast-cancer",
        "breast-cancer",
        {
            **{"loss.name": "bce_with_logits", "loss.reduction": "sum", "loss.pos_weight": 2.0},
            **{"clip.norm": 1.0, "batch_size": 13, "optimizer.weight_decay": 0.01},
        },
    ),
    "batch norm global": Case("fashion-mlp-bn", "digits", _SMALL),
    "batch norm local": Case("fashion-mlp-bn", "digits", {**_SMALL, **_LOCAL}),
}
SHARED = ["dropout and adam", "batch norm global", "batch norm local"]  # by a mesh, evenly


def torchrun(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", PROCESSES, *arguments]
    return subprocess.run(
        [str(argument) for argument in command], cwd=ROOT, text=True, capture_output=True, timeout=240, **options
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What distributed_steps.py makes of all cases."""
    folder = tmp_path_factory.mktemp("together")
    for name, case in CASES.items():
        (folder / f"{name}.json").write_text(case.resolve().to_json())
    ran = torchrun("parity_tests/distributed_steps.py", folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def together(folder: Path) -> dict[str, Arrays]:
    """The arrays of every case, by its name, with the steps as first axis."""
    return {name: dict(np.load(folder / f"{name}.npz")) for name in CASES}


class InShares(nn.Module):
    """A model called on each contiguous share of the batch; its buffers follow the first, as broadcast_buffers has it.

    BatchNorm's local statistics in a single process.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        first, *others = x.tensor_split(PROCESSES)
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        return torch.cat([self.model(first), *(functional_call(self.model, buffers, (part,)) for part in others)])


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one(name: str, together: dict[str, Arrays], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = CASES[name].resolve()
    if recipe.batch_norm == "local":
        monkeypatch.setattr(distributed.Ranks, "parallel", lambda self, model, recipe: InShares(model))
    alone = list(stepping.steps(recipe, load(recipe)))
    assert set(together[name]) == set(alone[0]) and len(together[name]["loss"]) == len(alone) == 100
    errors = worst_errors(together[name], alone, batch_norm="bn" in CASES[name].recipe)
    assert max(errors.values()) <= 1, errors


def worst_errors(found: Arrays, alone: Sequence[Arrays], *, batch_norm: bool) -> dict[str, float]:
    """{kind of array: its largest error, as a share of what is allowed}."""
    limits, worst = tolerances("float64", batch_norm=batch_norm), dict[str, float]()
    for step, expected in enumerate(alone):
        largest = max(magnitude(value) for key, value in expected.items() if key.startswith("gradient/"))
        for key, value in expected.items():
            kind = key.partition("/")[0]
            # Later gradients are those of other parameters, which may be a trajectory's tolerance apart.
            allowed = limits.gradients if kind == "gradient" else limits.trajectory
            allowed = max(allowed, limits.trajectory) if step else allowed
            share = error(found[key][step], value, largest if kind == "gradient" else None) / allowed
            worst[kind] = max(worst.get(kind, 0.0), share)
    return worst


@pytest.fixture(scope="module")
def on_mesh(folder: Path) -> dict[str, Arrays]:
    """What two devices that XLA makes of the CPU make of the cases in SHARED, by jaxnn."""
    flags = f"--xla_force_host_platform_device_count={PROCESSES}"
    ran = subprocess.run(
        [sys.executable, "parity_tests/mesh_steps.py", str(folder), f"data={PROCESSES}", *SHARED],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        **{"cwd": ROOT, "text": True, "capture_output": True, "timeout": 240},
    )
    assert ran.returncode == 0, ran.stderr
    return {name: dict(np.load(folder / f"{name}.mesh.npz")) for name in SHARED}


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_are_a_mesh_of_two_devices(
    name: str, together: dict[str, Arrays], on_mesh: dict[str, Arrays]
) -> None:
    """Losses, gradients, parameters and buffers of DistributedDataParallel and of JAX, after every step."""
    theirs, ours = together[name], on_mesh[name]
    assert {key for key in theirs if key.partition("/")[0] in KINDS} == set(ours)
    assert len(theirs["loss"]) == len(ours["loss"]) == 100
    steps = [{key: theirs[key][step] for key in ours} for step in range(100)]
    errors = worst_errors(ours, steps, batch_norm="bn" in CASES[name].recipe)
    assert set(errors) >= {"loss", "gradient", "parameter"} and max(errors.values()) <= 1, errors


@pytest.mark.parametrize("examples", distributed_steps.NORMS)
def test_batch_norm_over_two_processes(examples: int, folder: Path) -> None:
    """In the midst of a network, where its statistics pass gradients to every process's inputs."""
    found, limits = np.load(folder / f"norm-{examples}.npz"), tolerances("float64", batch_norm=True)
    expected = distributed_steps.batch_norm(distributed.ALONE, examples)
    errors = {name: error(found[name], value) for name, value in expected.items()}
    assert errors["outputs"] <= limits.forward and max(errors.values()) <= limits.gradients, errors


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the names of threads")
def test_the_threads_of_gloo_end_with_the_training(folder: Path) -> None:
    """Left to run while Python finalizes, they abort the process now and then."""
    names = (folder / "threads.txt").read_text().split()
    assert names and not [name for name in names if "gloo" in name]


def test_all_processes_evaluate_with_the_first_one_s_statistics(folder: Path) -> None:
    recipe, run = CASES["batch norm local"].resolve(), RunDir(folder / "batch norm local")
    row, again = run.read_metrics()[-1], evaluate(recipe, load(recipe), run)
    assert row["test_loss"] == pytest.approx(again["test_loss"], rel=1e-12)
    assert row["test_accuracy"] == again["test_accuracy"]


@pytest.mark.slow
def test_a_run_goes_on_by_another_number_of_processes(
    tmp_path: Path, largest_error: Callable[[object, object], float]
) -> None:
    """Steps 1 to 14 by one process, to 33 by two, to 44 by one: the run of one."""
    recipe = CASES["batch norm global"].resolve().replace(**{"eval_batch_size": 100, "schedule.name": "plateau"})
    dataset, whole, parts = load(recipe), RunDir(tmp_path / "whole"), RunDir(tmp_path / "parts")
    loop.train(recipe.replace(steps=44), dataset, whole)
    loop.train(recipe.replace(steps=14), dataset, parts)
    file = tmp_path / "recipe.json"
    file.write_text(recipe.replace(steps=33).to_json())
    ran = torchrun("-m", "torchref", "train", "--recipe", file, "--out", parts.path, "--resume")
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]  # of one process
    assert [event["event"] for event in events].count("result") == 1 and events[-1]["step"] == 33
    loop.train(recipe.replace(steps=44), dataset, parts, resume=True)
    ours, theirs = (checkpoint.load(run, lambda text: None) for run in (parts, whole))
    assert ours is not None and theirs is not None and ours["model"].keys() == theirs["model"].keys()
    errors = {key: largest_error(ours["model"][key], value) for key, value in theirs["model"].items()}
    for mine, other in zip(parts.read_metrics(), whole.read_metrics(), strict=True):
        for field in set(other) - {"seconds", "examples_per_second"}:
            errors[field] = max(errors.get(field, 0.0), largest_error(mine[field], other[field]))
    assert max(errors.values()) <= tolerances("float64", batch_norm=True).trajectory, errors


def load(recipe: Recipe) -> data.Dataset:
    assert recipe.dataset is not None
    return data.prepare(data.load(recipe.dataset, seed=recipe.seed), recipe.input)
