"""A recipe survives JSON, and refuses what cannot be trained with a sentence that names the field."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnn.errors import UserError
from jaxnn.recipe import Recipe
from jaxnn.recipes import PRESETS, get


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    recipe = get(name)
    assert Recipe.from_json(recipe.to_json(), where="recipe.json") == recipe
    assert recipe.name == name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"epochs": 0}, "epochs"),
        ({"steps": -1}, "steps"),
        ({"seed": -1}, "seed"),
        ({"log_every": 0}, "log_every"),
        ({"model.hidden": (64, 0)}, "model.hidden"),
        ({"model.dropout": 1.0}, "model.dropout"),
        ({"input.channels": 2}, "input.channels"),
        ({"input.std": 0.0}, "input.std"),
        ({"optimizer.learning_rate": float("nan")}, "optimizer.learning_rate"),
        ({"optimizer.learning_rate": 1e39}, "optimizer.learning_rate"),
        ({"optimizer.betas": (0.9, 1.0)}, "optimizer.betas"),
        ({"optimizer.momentum": 0.9}, "it belongs to sgd, rmsprop"),
        ({"optimizer.name": "sgd", "optimizer.nesterov": True}, "optimizer.nesterov needs"),
        ({"loss.label_smoothing": 0.1}, "it belongs to cross_entropy"),
        ({"loss.name": "bce"}, "log-softmax"),
        ({"schedule.gamma": 0.5}, "it belongs to step, exponential"),
        ({"schedule.name": "step", "schedule.step_size": 0}, "schedule.step_size"),
        ({"clip.norm": 0.0}, "clip.norm"),
        ({"clip.norm": 1.0, "clip.value": 1.0}, "not both"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        get("mnist-mlp").replace(**changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("model"), "model"),
        (lambda d: d.update(epoch=3), "epoch"),
        (lambda d: d.update(epochs="three"), "epochs"),
        (lambda d: d["optimizer"].update(lr=1), "optimizer.lr"),
        (lambda d: d["model"].update(kind="transformer"), "transformer"),
        (lambda d: d.update(batch_size=0), "batch_size"),
    ],
)
def test_a_damaged_file_names_its_field(change: Any, says: str) -> None:
    document = json.loads(get("mnist-mlp").to_json())
    change(document)
    with pytest.raises(UserError, match=f"RUN/recipe.json.*{says}"):
        Recipe.from_json(json.dumps(document), where="RUN/recipe.json")


@settings(max_examples=50, deadline=None)
@given(st.binary() | st.from_type(type(None)).map(lambda _: get("lenet").to_json().encode()), st.integers(0, 400))
def test_any_bytes_are_a_recipe_or_a_sentence(content: bytes, cut: int) -> None:
    try:
        Recipe.from_json(content[:cut].decode(errors="replace"), where="recipe.json")
    except UserError as error:
        assert str(error).startswith("recipe.json is not a valid recipe")
