"""Every rival computes what PyTorch eager computes, and the gate holds back one that does not."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("torch")

from jaxnn import precision
from jaxnn.data import Dataset
from jaxnn.recipe import Recipe

from . import band
from .cases import Case, dataset_of, recipe_of
from .gate import Agreement, Allowed, Observed, judge
from .rivals import flax_loop, jax_backend, torch_backend, torch_document

STEPS = 20
PREPARE = {"jaxnn": jax_backend.prepare, "document": torch_document.prepare, "flax": flax_loop.prepare}


@pytest.fixture(scope="module")
def datasets() -> dict[str, Dataset]:
    return {name: dataset_of(recipe_of(Case(name, 4), "float32")) for name in ("breast-cancer", "lenet")}


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    with precision.activate("float32"):
        yield


def _observed(prepare: Callable[..., torch_backend.Prepared], recipe: Recipe, dataset: Dataset) -> Observed:
    prepared = prepare(recipe, dataset)
    losses = prepared.run(STEPS)
    return Observed(np.asarray(losses, np.float64), prepared.parameters())


@pytest.mark.parametrize(("name", "size"), [("breast-cancer", 5), ("lenet", 4)])
def test_the_rivals_agree_and_planted_faults_are_held_back(name: str, size: int, datasets: dict[str, Dataset]) -> None:
    recipe, dataset = recipe_of(Case(name, size), "float32"), datasets[name]
    theirs = _observed(torch_backend.prepare, recipe, dataset)
    allowed = band.training(recipe, dataset, STEPS)
    assert max(allowed.limits.values()) < 1e-4
    for rival, prepare in PREPARE.items():
        agreement = judge(_observed(prepare, recipe, dataset), theirs, allowed)
        assert agreement.ok, f"{rival}: {agreement}"

    ours = _observed(jax_backend.prepare, recipe, dataset)
    start = torch_backend.prepare(recipe, dataset).parameters()
    square = next(key for key, value in theirs.parameters.items() if value.ndim == 2)
    rate = recipe.replace(**{"optimizer.learning_rate": recipe.optimizer.learning_rate * 1.01})
    faults = {"learning rate 1 % off": _observed(jax_backend.prepare, rate, dataset)}
    flipped = ours.parameters[square].T.reshape(ours.parameters[square].shape)
    faults["weight transposed"] = Observed(ours.losses, {**ours.parameters, square: flipped})
    for key in start:
        faults[f"{key} not updated"] = Observed(ours.losses, {**ours.parameters, key: start[key]})
        without = {other: value for other, value in ours.parameters.items() if other != key}
        faults[f"{key} missing"] = Observed(ours.losses, without)
    faults["loss of another batch"] = Observed(np.roll(ours.losses, 1), ours.parameters)
    missed = [fault for fault, observed in faults.items() if judge(observed, theirs, allowed).ok]
    assert not missed


def test_bfloat16_is_held_to_what_autocast_costs(datasets: dict[str, Dataset]) -> None:
    recipe, dataset = recipe_of(Case("breast-cancer", 5), "bfloat16"), datasets["breast-cancer"]
    theirs = _observed(torch_backend.prepare, recipe, dataset)
    allowed = band.training(recipe, dataset, STEPS)
    with precision.activate("bfloat16"):
        for rival in (jax_backend.prepare, flax_loop.prepare):
            ours = _observed(rival, recipe, dataset)
            assert judge(ours, theirs, allowed).ok
    start = torch_backend.prepare(recipe, dataset).parameters()
    for key in start:
        frozen = Observed(ours.losses, {**ours.parameters, key: start[key]})
        assert not judge(frozen, theirs, allowed).ok, key


def test_the_worst_is_named() -> None:
    theirs = Observed(np.ones(2), {"a": np.ones(3), "b": np.full(3, 2.0)})
    ours = Observed(np.ones(2), {"a": np.ones(3) + 1e-3, "b": np.full(3, 2.0) + 2.0**-7})
    limits = {"loss": 1e-6, "a": 1.0, "b": 1e-4}
    assert judge(ours, theirs, Allowed(limits)) == Agreement("b", 2.0**-8, 1e-4)
    start = {"a": np.zeros(3), "b": np.full(3, 1.0)}
    assert judge(ours, theirs, Allowed(limits, start)) == Agreement("b", 2.0**-7, 1e-4)
    assert not judge(ours, theirs, Allowed({})).ok
    assert not judge(Observed(np.array([1.0, np.nan]), theirs.parameters), theirs, Allowed({"loss": 1.0})).ok
