"""Whole training runs from the same seed, JAX against PyTorch in float64: the loss of every step, then all weights.

Both sides run as `jaxnn train` runs them: own batches, masks, schedules, metrics, checkpoints.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import torchref.loop
import torchref.precision
from jaxnn import data, experiment, loop, precision, recipes
from jaxnn.checkpoint import Checkpoints
from jaxnn.interop.state_dict import rules, to_torch
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.step import TrainState

# Rounding alone, except that BatchNorm divides by a standard deviation and so amplifies it.
TOLERANCE, WITH_BATCH_NORM = 1e-12, 1e-9


class Case(NamedTuple):
    recipe: str
    dataset: str = "digits"
    changes: dict[str, Any] = {}


CASES = [
    Case("mnist-mlp", changes={"epochs": 2}),
    Case("mnist-mlp", changes={"model.dropout": 0.3, "epochs": 2}),
    Case("mnist-mlp", changes={"shuffle": False, "drop_last": True, "epochs": 2}),
    Case("mnist-mlp", changes={"steps": 200, "seed": 7}),  # ends inside an epoch
    Case("tabular-mlp", "uniform-500x20", {"steps": 50}),
    Case("tabular-mlp", "uniform-500x20", {"optimizer.learning_rate": 10.0, "optimizer.momentum": 0.0, "steps": 5}),
    Case("tabular-minibatch", "uniform-5000x20", {"batch_size": 400}),
    Case("breast-cancer", "breast-cancer", {"epochs": 3}),
    Case("breast-cancer", "breast-cancer", {"loss.name": "bce_with_logits", "loss.pos_weight": 2.0, "epochs": 2}),
    Case("breast-cancer", "breast-cancer", {"loss.name": "bce", "epochs": 2}),
    Case("csv", "iris", {"batch_size": 20}),
    Case("csv", "iris", {"loss.weight": (1.0, 2.0, 0.5), "loss.label_smoothing": 0.1, "batch_size": 7}),
    Case("fashion-mlp"),
    Case("fashion-mlp-bn"),
    Case("fashion-mlp-512", changes={"epochs": 2}),
    Case("lenet"),
    Case("lenet", changes={"optimizer.momentum": 0.9, "optimizer.nesterov": True, "epochs": 1}),
    Case("lenet", changes={"optimizer.name": "rmsprop", "optimizer.learning_rate": 1e-3, "epochs": 1}),
    Case("lenet-3x3", changes={"loss.name": "sse", "optimizer.learning_rate": 1e-4, "epochs": 1}),
    Case("cifar-cnn", changes={"epochs": 1}),
    Case("cifar-cnn", changes={"augment.crop": 4, "augment.flip": True, "epochs": 1}),
    Case("lenet", changes={"augment.crop": 2, "drop_last": True, "optimizer.momentum": 0.9, "epochs": 2}),
    Case("fashion-mlp-bn", changes={"augment.flip": True}),
    *(
        Case(
            recipe,
            changes={
                **{"freeze_backbone": True, "optimizer.name": "sgd", "optimizer.learning_rate": 0.01, "epochs": 2},
                **{"optimizer.momentum": 0.9, "optimizer.weight_decay": 0.1, "clip.norm": 0.5},
            },
        )
        for recipe in ("mnist-mlp", "fashion-mlp-bn", "fashion-mlp-512", "lenet")
    ),
    Case(
        "fashion-mlp",
        changes={"optimizer.name": "adamw", "optimizer.learning_rate": 1e-3, "schedule.name": "cosine", "epochs": 4},
    ),
    Case(
        "fashion-mlp",
        changes={"schedule.name": "one_cycle", "optimizer.momentum": 0.9, "clip.norm": 0.5, "epochs": 4},
    ),
    Case(
        "fashion-mlp",
        changes={
            **{"schedule.name": "plateau", "schedule.monitor": "train_accuracy", "schedule.mode": "max"},
            **{"schedule.patience": 0, "schedule.threshold": 0.5, "clip.value": 0.01, "epochs": 4},
        },
    ),
]

# Slow: what other cases have too.
LONG = [
    Case("mnist-mlp", changes={"epochs": 2}),
    Case("cifar-cnn", changes={"augment.crop": 4, "augment.flip": True, "epochs": 1}),
    Case("lenet", changes={"optimizer.name": "rmsprop", "optimizer.learning_rate": 1e-3, "epochs": 1}),
]


def _name(case: Case) -> str:
    return f"{case.recipe} {' '.join(f'{name}={value}' for name, value in case.changes.items())}"


class Run(NamedTuple):
    losses: list[float]
    rows: list[dict[str, Any]]
    weights: dict[str, np.ndarray]


def run_jax(recipe: Recipe, dataset: data.Dataset, path: Path) -> Run:
    losses, rows = [], []
    hooks = loop.Hooks(progress=lambda **p: losses.append(p["running_loss"]), epoch=rows.extend)
    run = RunDir(path / "jax")
    loop.train(recipe, dataset, run, hooks=hooks)
    return Run(losses, rows, jax_weights(recipe, dataset, run))


def jax_weights(recipe: Recipe, dataset: data.Dataset, run: RunDir) -> dict[str, np.ndarray]:
    """The newest checkpoint under PyTorch's names."""
    with precision.activate(recipe.precision) as dtypes, Checkpoints(run.checkpoints) as checkpoints:
        prepared, state = experiment.build(recipe, dataset, dtypes)
        state = TrainState(*checkpoints.restore(checkpoints.steps[-1], tuple(state)).state)
    return to_torch(rules(prepared.members[0].model), state.params, state.buffers)


def run_torch(recipe: Recipe, dataset: data.Dataset, path: Path) -> Run:
    losses, rows = [], []
    run = RunDir(path / "torch")
    torchref.loop.train(
        recipe, dataset, run, on_progress=lambda **p: losses.append(p["running_loss"]), on_epoch=rows.append
    )
    newest = max(run.checkpoints.glob("*.pt"))
    model = torch.load(newest, weights_only=True)["model"]
    return Run(losses, rows, {key: value.numpy() for key, value in model.items()})


def compare(jax_run: Run, torch_run: Run, largest_error: Callable[[object, object], float]) -> dict[str, float]:
    """{what: error}; a loss is compared at every step, relative to itself."""
    assert len(jax_run.losses) == len(torch_run.losses) > 0
    ours, theirs = np.array(jax_run.losses), np.array(torch_run.losses)
    errors = {"loss": float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3)))}
    assert set(jax_run.weights) == set(torch_run.weights)
    errors |= {key: largest_error(jax_run.weights[key], value) for key, value in torch_run.weights.items()}
    for mine, other in zip(jax_run.rows, torch_run.rows, strict=True):
        assert set(mine) == set(other)
        for field in set(mine) - {"seconds", "examples_per_second"}:
            errors[f"row {field}"] = max(errors.get(f"row {field}", 0), largest_error(mine[field], other[field]))
    return errors


def resolve(case: Case) -> tuple[Recipe, data.Dataset]:
    recipe = recipes.get(case.recipe, dataset=case.dataset)
    recipe = recipe.replace(**{"precision": "float64", "log_every": 1, **case.changes})
    return recipe, data.prepare(data.load(case.dataset, seed=recipe.seed), recipe.input)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=_name(case), marks=[pytest.mark.slow] if case in LONG else []) for case in CASES]
)
def test_same_seed_same_run(case: Case, tmp_path: Path, largest_error: Callable[[object, object], float]) -> None:
    recipe, dataset = resolve(case)
    errors = compare(run_jax(recipe, dataset, tmp_path), run_torch(recipe, dataset, tmp_path), largest_error)
    tolerance = WITH_BATCH_NORM if case.recipe == "fashion-mlp-bn" else TOLERANCE
    assert max(errors.values()) <= tolerance, errors


def test_a_chaotic_run_stays_within_pytorch_s_own_band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs up to 100 make ReLU kinks that amplify rounding: by step 100 torch parts from itself, one ulp apart."""
    recipe, dataset = resolve(Case("tabular-mlp", "uniform-500x20", {"steps": 100}))
    ours, theirs = (np.array(run(recipe, dataset, tmp_path).losses) for run in (run_jax, run_torch))
    place = torchref.precision.place

    def moved(ulps: int) -> np.ndarray:
        def place_off(model: torch.nn.Module, *arguments: Any) -> torch.nn.Module:
            place(model, *arguments)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1 + ulps * 2.0**-52)
            return model

        monkeypatch.setattr(torchref.precision, "place", place_off)
        return np.array(run_torch(recipe, dataset, tmp_path).losses)

    band = max(np.abs(moved(ulps) - theirs).max() for ulps in (-1, 1))
    assert np.abs(ours - theirs).max() <= 10 * band


@pytest.mark.parametrize(
    "fault",
    [
        {"seed": 421},
        {"optimizer.eps": 1e-7},
        {"optimizer.betas": (0.9, 0.99)},
        {"shuffle": False},
        {"model.dropout": 0.01},
        {"input.mean": 1e-6},
        {"loss.name": "mse"},
    ],
    ids=str,
)
def test_a_planted_fault_is_caught(
    fault: dict[str, Any], tmp_path: Path, largest_error: Callable[[object, object], float]
) -> None:
    recipe, dataset = resolve(Case("mnist-mlp", changes={"steps": 20}))
    faulty = recipe.replace(**fault)
    errors = compare(run_jax(faulty, dataset, tmp_path), run_torch(recipe, dataset, tmp_path), largest_error)
    assert errors["loss"] > 1e3 * TOLERANCE
