"""A training moved between the frameworks in its middle: 100 steps in one, 100 in the other, as 200 in either.

Through the files of `jaxnn export` and `jaxnn import`, in float64, with the optimizer's state, the schedule's, and the
place in the batches and in the dropout masks.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import torchref.loop
from jaxnn import data, loop, recipes
from jaxnn.data import Dataset
from jaxnn.errors import Interrupted
from jaxnn.interop import export_run, import_run, weights
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir

HALF, ALL = 100, 200
TOLERANCE = 1e-12
AMPLIFIED = 1e-9  # by a division by a standard deviation, of batches or of gradients; also without a move
OTHER: dict[Framework, Framework] = {"jax": "torch", "torch": "jax"}


class Case(NamedTuple):
    recipe: str
    dataset: str = "digits"
    changes: dict[str, Any] = {}


_SGD = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.05}
CASES = [
    Case("mnist-mlp"),  # Adam; inside an epoch of 144 steps
    Case("mnist-mlp", changes={"model.dropout": 0.3}),
    Case("mnist-mlp", changes={"batch_size": 72}),  # at the end of an epoch of 20
    Case("mnist-mlp", changes={**_SGD, "optimizer.momentum": 0.9, "optimizer.dampening": 0.1}),
    Case("mnist-mlp", changes={"optimizer.name": "nadam"}),
    Case("mnist-mlp", changes={"optimizer.name": "adagrad", "schedule.name": "exponential", "batch_size": 72}),
    Case("mnist-mlp", changes={"optimizer.name": "rmsprop", "optimizer.momentum": 0.9, "optimizer.centered": True}),
    Case("mnist-mlp", changes={"optimizer.name": "adamw", "optimizer.amsgrad": True, "schedule.name": "one_cycle"}),
    Case("mnist-mlp", changes={**_SGD, "schedule.name": "cosine", "batch_size": 72}),
    Case("mnist-mlp", changes={"schedule.name": "plateau", "schedule.patience": 0, "batch_size": 72}),
    Case("fashion-mlp-bn"),
    Case("fashion-mlp", changes={"freeze_backbone": True, "optimizer.momentum": 0.9}),
    Case("lenet", changes={"optimizer.momentum": 0.9, "optimizer.nesterov": True}),
    Case("breast-cancer", "breast-cancer"),
    Case("tabular-mlp", "uniform-500x20", {"optimizer.learning_rate": 0.01}),
]


def _name(case: Case) -> str:
    return f"{case.recipe} {' '.join(f'{name}={value}' for name, value in case.changes.items())}"


def _ignore(_: str) -> None:
    pass


def train(recipe: Recipe, dataset: Dataset, run: RunDir, framework: Framework, *, until: int, resume: bool) -> None:
    """Trains until ``until`` steps are done, in the middle of a run of ``ALL``."""
    seen = HALF if resume else 0

    def progress(**_: Any) -> None:
        nonlocal seen
        seen += 1

    def should_stop() -> bool:
        return until < ALL and seen >= until

    try:
        if framework == "jax":
            loop.train(
                recipe, dataset, run, resume=resume, hooks=loop.Hooks(progress=progress, should_stop=should_stop)
            )
        else:
            torchref.loop.train(recipe, dataset, run, resume=resume, on_progress=progress, should_stop=should_stop)
    except Interrupted as stopped:
        assert stopped.step == until


def end(run: RunDir, framework: Framework) -> dict[str, np.ndarray]:
    """Weights, buffers, optimizer state and metrics of a run, by PyTorch's names."""
    recipe, _ = run.read_recipe()
    found, training = export_run.from_run(run, recipe, framework, _ignore)
    for number, held in training["state"].items():
        found |= {f"{number}.{slot}": value.numpy() for slot, value in held.items()}
    for number, row in enumerate(run.read_metrics()):
        found |= {f"row {number} {name}": np.array(row[name], float) for name in ("train_loss", "test_loss", "step")}
    return found | {"learning rate": np.array(training["param_groups"][0]["lr"])}


def move(recipe: Recipe, dataset: Dataset, run: RunDir, framework: Framework, into: RunDir, folder: Path) -> None:
    """As `jaxnn export` and `jaxnn import` do."""
    arrays, training = export_run.from_run(run, recipe, framework, _ignore)
    file, beside = folder / "moved.safetensors", folder / "moved.optimizer.pt"
    weights.write(file, arrays)
    weights.write_pickled(beside, training)
    given = import_run.Given(weights.read(file, _ignore), str(file), weights.read_pickled(beside), str(beside))
    enter = import_run.into_torch if framework == "jax" else import_run.into_jax
    assert enter(given, recipe, dataset, into, _ignore) == HALF


def resolve(case: Case) -> tuple[Recipe, Dataset]:
    recipe = recipes.get(case.recipe, dataset=case.dataset)
    recipe = recipe.replace(**{"precision": "float64", "log_every": 1, "steps": ALL, **case.changes})
    return recipe, data.prepare(data.load(case.dataset, seed=recipe.seed), recipe.input)


# Every case from one framework, in turn; from the other it is slow.
@pytest.mark.parametrize(
    ("case", "start"),
    [
        pytest.param(
            *(case, start), id=f"{_name(case)}-{start}", marks=[pytest.mark.slow] if (number + side) % 2 else []
        )
        for number, case in enumerate(CASES)
        for side, start in enumerate(("jax", "torch"))
    ],
)
def test_moved_in_the_middle(
    case: Case, start: Framework, tmp_path: Path, largest_error: Callable[[object, object], float]
) -> None:
    recipe, dataset = resolve(case)
    first, second, whole = (RunDir(tmp_path / name) for name in ("first", "second", "whole"))
    train(recipe, dataset, whole, start, until=ALL, resume=False)
    train(recipe, dataset, first, start, until=HALF, resume=False)
    move(recipe, dataset, first, start, second, tmp_path)
    train(recipe, dataset, second, OTHER[start], until=ALL, resume=True)
    expected, found = end(whole, start), end(second, OTHER[start])
    assert set(found) == set(expected)
    errors = {key: largest_error(found[key], value) for key, value in expected.items()}
    amplifies = case.recipe == "fashion-mlp-bn" or recipe.optimizer.centered
    assert max(errors.values()) <= (AMPLIFIED if amplifies else TOLERANCE), errors


def test_the_document_s_own_calls_take_the_files(tmp_path: Path) -> None:
    """load_state_dict of model and optimizer, with torch.load's defaults."""
    recipe, dataset = resolve(Case("mnist-mlp"))
    run = RunDir(tmp_path / "run")
    train(recipe, dataset, run, "jax", until=HALF, resume=False)
    arrays, training = export_run.from_run(run, recipe, "jax", _ignore)
    weights.write(tmp_path / "w.pt", arrays)
    weights.write_pickled(tmp_path / "w.optimizer.pt", training)
    model = torchref.models.build(recipe.model, input_shape=dataset.input_shape, outputs=10).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.load_state_dict(torch.load(tmp_path / "w.pt"))
    optimizer.load_state_dict(torch.load(tmp_path / "w.optimizer.pt"))
    assert np.array_equal(model.fc1.weight.detach().numpy(), arrays["fc1.weight"])
    assert {float(held["step"]) for held in optimizer.state.values()} == {HALF}


def test_a_script_s_optimizer_needs_no_position(tmp_path: Path, largest_error: Callable[..., float]) -> None:
    """torch.save(optimizer.state_dict()) alone: jaxnn goes on as if it had trained from the seed itself."""
    recipe, dataset = resolve(Case("mnist-mlp", changes={"model.dropout": 0.3}))
    first, second, whole = (RunDir(tmp_path / name) for name in ("first", "second", "whole"))
    train(recipe, dataset, whole, "torch", until=ALL, resume=False)
    train(recipe, dataset, first, "torch", until=HALF, resume=False)
    arrays, training = export_run.from_run(first, recipe, "torch", _ignore)
    bare = {"optimizer": {name: training[name] for name in ("state", "param_groups")}}
    import_run.into_jax(import_run.Given(arrays, "weights", bare, "optimizer"), recipe, dataset, second, _ignore)
    train(recipe, dataset, second, "jax", until=ALL, resume=True)
    expected, found = end(whole, "torch"), end(second, "jax")
    errors = {key: largest_error(found[key], value) for key, value in expected.items() if not key.startswith("row")}
    assert max(errors.values()) <= TOLERANCE, errors


def test_a_run_imported_without_its_data_gets_them_when_it_is_trained(tmp_path: Path) -> None:
    recipe, dataset = resolve(Case("mnist-mlp", changes={"steps": HALF}))
    first, second = RunDir(tmp_path / "first"), RunDir(tmp_path / "second")
    train(recipe, dataset, first, "jax", until=HALF, resume=False)
    arrays = export_run.weights_of(first, recipe, "jax", _ignore)
    assert import_run.into_jax(import_run.Given(arrays, "weights"), recipe, None, second, _ignore) == 0
    assert second.trained_on().examples == 0
    train(recipe, dataset, second, "jax", until=ALL, resume=True)
    assert second.trained_on() == first.trained_on() and second.data_fingerprint() == dataset.fingerprint
    assert export_run.from_run(second, recipe, "jax", _ignore)[1]["position"]["step"] == HALF


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a moment": lambda training: training["state"][0]["exp_avg"].mul_(1 + 1e-6),
    "the step": lambda training: (
        [held["step"].add_(1) for held in training["state"].values()]
        and training["position"].update(step=HALF + 1, step_in_epoch=HALF + 1)
    ),
    "the stream": lambda training: training["position"].update(epoch_rng=training["position"]["rng"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_lost_on_the_way_is_caught(fault: str, tmp_path: Path, largest_error: Callable[..., float]) -> None:
    recipe, dataset = resolve(Case("mnist-mlp", changes={"model.dropout": 0.3}))
    first, second, whole = (RunDir(tmp_path / name) for name in ("first", "second", "whole"))
    train(recipe, dataset, whole, "torch", until=ALL, resume=False)
    train(recipe, dataset, first, "torch", until=HALF, resume=False)
    arrays, training = export_run.from_run(first, recipe, "torch", _ignore)
    FAULTS[fault](training)
    import_run.into_jax(import_run.Given(arrays, "weights", training, "optimizer"), recipe, dataset, second, _ignore)
    train(recipe, dataset, second, "jax", until=ALL, resume=True)
    expected, found = end(whole, "torch"), end(second, "jax")
    assert max(largest_error(found[key], value) for key, value in expected.items()) > 1e3 * TOLERANCE
