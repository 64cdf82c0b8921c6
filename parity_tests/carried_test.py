"""The level "state": a training goes from PyTorch into JAX and back without a difference, and what is lost is named."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxnn.interop import export_run, import_run, state_dict, training_state
from jaxnn.interop.layout import Layout
from jaxnn.parity import Report
from jaxnn.parity.carried import compare_state
from jaxnn.parity.certificate import resolve
from jaxnn.recipe import Precision

ADAM_BN = ("fashion-mlp-bn", {"optimizer.name": "adam", "optimizer.learning_rate": 1e-3})
CASES: dict[str, tuple[str, Precision, dict[str, Any]]] = {
    "adam and BatchNorm": (ADAM_BN[0], "float64", ADAM_BN[1]),
    "momentum, a schedule, float32": (
        "fashion-mlp-bn",
        "float32",
        {"optimizer.momentum": 0.9, "schedule.name": "exponential", "batch_size": 360},
    ),
    "nadam with dropout": ("mnist-mlp", "float64", {"optimizer.name": "nadam", "model.dropout": 0.3}),
    "one layer trained": ("lenet", "float64", {"freeze_backbone": True, "optimizer.momentum": 0.9}),
}
SLOTS = {
    "sgd": {"momentum_buffer"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "nadam": {"step", "exp_avg", "exp_avg_sq", "mu_product"},
}


def compared(name: str, precision: Precision, changes: dict[str, Any]) -> Report:
    recipe, dataset = resolve(name, dataset=None, data_dir=None, precision=precision)
    return Report(title=name, entries=compare_state(recipe.replace(**changes), dataset))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * ("float32" not in case and "adam and" not in case))
        for case in CASES
    ],
)
def test_nothing_is_lost(case: str) -> None:
    report = compared(*CASES[case])
    assert report.ok, report.table()
    assert {entry.error for entry in report.entries if not entry.what.endswith("later")} == {0.0}
    changes = CASES[case][2]
    names = {entry.torch_name for entry in report.entries}
    assert {"options of the optimizer", "place in the data", "loss of the last epoch"} <= names
    assert ("schedule" in names) == ("schedule.name" in changes)
    slots = {entry.what.removesuffix(" in JAX") for entry in report.entries if entry.what.endswith(" in JAX")}
    assert slots == SLOTS[changes.get("optimizer.name", "sgd")]


def _reading(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[pytest.MonkeyPatch], None]:
    """Into JAX with the optimizer's slots changed."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = training_state.read

        def read(*arguments: Any, **options: Any) -> Any:
            slots, *others = right(*arguments, **options)
            return change(slots), *others

        patch.setattr(import_run.training_state, "read", read)

    return plant


def _swapped(slots: dict[str, Any]) -> dict[str, Any]:
    return {"exp_avg": slots["exp_avg_sq"], "exp_avg_sq": slots["exp_avg"]}


def _without_a_buffer(patch: pytest.MonkeyPatch) -> None:
    right = state_dict.to_nnx

    def to_nnx(rules: Any, arrays: Any, like: Any) -> Any:
        return right(rules, {**arrays, "normalize.running_var": np.ones(1)}, like)

    patch.setattr(import_run.state_dict, "to_nnx", to_nnx)


def _transposed_both_ways(patch: pytest.MonkeyPatch) -> None:
    """A square weight whose layout the rules have wrong: undone on the way back."""
    right = state_dict.rules

    def rules(model: Any) -> state_dict.Rules:
        found = right(model)
        return found | {"fc2.weight": found["fc2.weight"]._replace(layout=Layout())}

    patch.setattr(state_dict, "rules", rules)
    patch.setattr("jaxnn.trained.rules", rules)


def _position(patch: pytest.MonkeyPatch) -> None:
    right = export_run._stream_now
    patch.setattr(
        export_run, "_stream_now", lambda run, recipe, structure, at: right(run, recipe, structure, at | {"done": 0})
    )


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, dict[str, Any], str, str]] = {
    "a buffer is not carried": (_without_a_buffer, *ADAM_BN, "normalize.running_var", "in JAX"),
    "moments swapped": (_reading(_swapped), *ADAM_BN, "normalize.weight", "exp_avg in JAX"),
    "a weight transposed, there and back": (_transposed_both_ways, "mnist-mlp", {}, "fc2.weight", "in JAX"),
    "the random stream": (_position, "mnist-mlp", {"model.dropout": 0.3}, "place in the data", "back in PyTorch"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_lost_is_named(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, name, changes, key, what = FAULTS[fault]
    plant(monkeypatch)
    report = compared(name, "float64", changes)
    first = report.first_divergence
    assert first is not None and (first.torch_name, first.what) == (key, what), report.table()
    assert first.error > 1e-6
