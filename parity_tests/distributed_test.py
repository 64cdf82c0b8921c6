"""Two processes of torchref under torchrun make what one makes, and what JAX makes: in float64, at every step."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
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
# The --mesh of JAX's side, "data=2" on two devices that XLA makes of the CPU; None: one device, which has the same
# numbers but for BatchNorm's local statistics.
MESH: str | None = None


class Case(NamedTuple):
    recipe: str
    dataset: str
    changes: dict[str, Any]

    def resolve(self) -> Recipe:
        recipe = recipes.get(self.recipe, dataset=self.dataset)
        return recipe.replace(**{"precision": "float64", "log_every": 1, "steps": 100, **self.changes})


# 1437 digits, 455 rows of breast-cancer, 120 irises: shares of a batch differ by one example, those of the epoch's last
# batch again; of the irises' last batch, a single flower, the second process has none.
_SMALL = {"model.hidden": 8, "batch_size": 151}
_LOCAL = {"batch_norm": "local", "augment.flip": True, "eval_batch_size": 100}
CASES = {
    "dropout and adam": Case("mnist-mlp", "digits", {"model.hidden": (12, 8), "model.dropout": 0.2, "batch_size": 151}),
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


def worst_errors(found: Arrays, alone: list[Arrays], *, batch_norm: bool) -> dict[str, float]:
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


@pytest.mark.parametrize(
    "name",
    [
        "batch norm global",
        pytest.param("dropout and adam", marks=pytest.mark.slow),
        pytest.param(
            "batch norm local", marks=pytest.mark.skipif(MESH is None, reason="one device has the statistics of all")
        ),
    ],
)
def test_two_processes_are_jax(name: str, together: dict[str, Arrays], tmp_path: Path) -> None:
    case, run = CASES[name], tmp_path / "run"
    changes = {"precision": "float64", "steps": 100, "log_every": 1, **case.changes}
    flags = [part for field, value in changes.items() for part in (f"--{field.replace('_', '-')}", *as_words(value))]
    mesh = [] if MESH is None else ["--mesh", MESH]
    ran = subprocess.run(
        [sys.executable, "parity_tests/mesh_steps.py", run, case.recipe, "--dataset", case.dataset, *flags, *mesh],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        | ({} if MESH is None else {"XLA_FLAGS": f"--xla_force_host_platform_device_count={PROCESSES}"}),
        **{"cwd": ROOT, "text": True, "capture_output": True, "timeout": 240},
    )
    assert ran.returncode == 0, ran.stderr
    expected = together[name]
    allowed = tolerances("float64", batch_norm="bn" in case.recipe).trajectory
    weights = load_file(run / "weights.safetensors")
    last = {key.partition("/")[2]: values[-1] for key, values in expected.items() if key[:6] in ("parame", "buffer")}
    assert weights.keys() == last.keys()
    errors = {key: error(weights[key], last[key]) for key in weights}
    losses = np.load(run / "losses.npy")
    assert losses.shape == expected["loss"].shape == (100,)
    errors["loss"] = float(np.max(np.abs(losses - expected["loss"]) / np.abs(expected["loss"])))
    assert max(errors.values()) <= allowed, errors


@pytest.mark.parametrize("examples", distributed_steps.NORMS)
def test_batch_norm_over_two_processes(examples: int, folder: Path) -> None:
    """In the midst of a network, where its statistics pass gradients to every process's inputs."""
    found, limits = np.load(folder / f"norm-{examples}.npz"), tolerances("float64", batch_norm=True)
    expected = distributed_steps.batch_norm(distributed.ALONE, examples)
    errors = {name: error(found[name], value) for name, value in expected.items()}
    assert errors["outputs"] <= limits.forward and max(errors.values()) <= limits.gradients, errors


def test_all_processes_evaluate_with_the_first_one_s_statistics(folder: Path) -> None:
    recipe, run = CASES["batch norm local"].resolve(), RunDir(folder / "batch norm local")
    row, again = run.read_metrics()[-1], evaluate(recipe, load(recipe), run)
    assert row["test_loss"] == pytest.approx(again["test_loss"], rel=1e-12)
    assert row["test_accuracy"] == again["test_accuracy"]


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


def as_words(value: object) -> list[str]:
    return [str(part) for part in (value if isinstance(value, tuple) else (value,))]
