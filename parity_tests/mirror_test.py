"""jaxnn and torchref are one program written twice: what both sides have must not drift apart.

Functions, networks and names are found by looking; what is written down here is only the differences that are
meant, each with its reason.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jaxnn.losses
import jaxnn.models
import jaxnn.optim
import jaxnn.schedules
import torchref.loop
import torchref.losses
import torchref.models
import torchref.optim
import torchref.schedules
from jaxnn import recipe, recipes
from jaxnn.interop.state_dict import state_dict
from jaxnn.torch_random import TorchGenerator
from parity_tests.signatures import Function, drift

Reasons = Mapping[str, str]

_DEVICE = "JAX finds its devices by itself; torchref is told where it computes"
_PROCESSES = "JAX sees all devices of a mesh in one program; torchref's processes must be told of each other"
_HOOKS = "one frozen record of functions in jaxnn, an argument each in torchref"
# torchref's module or function -> a parameter in which the sides differ -> why.
INTENDED: dict[str, Reasons] = {
    "models": {
        "rngs": "torch draws from its global generator; JAX must be given a stream",
        "param_dtype": "torchref draws in float32 and converts the model; JAX draws in the format itself",
    },
    "augment.augment": dict.fromkeys(("images", "drawn"), "arrays of the one framework, tensors of the other"),
    "environment": {"device": _DEVICE},
    "environment.describe": {"processes": _PROCESSES, "mesh": _PROCESSES},
    "loop.train": {
        "memory_limit": "torchref keeps every split in memory",
        "ranks": _PROCESSES,
        "mesh": _PROCESSES,
        **dict.fromkeys(("hooks", "on_notice", "on_progress", "on_epoch", "should_stop"), _HOOKS),
    },
    "evaluate.evaluate": {
        "split": "by keyword alone in jaxnn",
        **dict.fromkeys(("notice", "on_notice"), "torchref's hooks are called on_..."),
        **dict.fromkeys(("checkpoint", "choice"), "torchref has a module of that name"),
    },
    "prediction.predict": {
        **dict.fromkeys(("notice", "on_notice"), "torchref's hooks are called on_..."),
        **dict.fromkeys(("checkpoint", "choice"), "torchref has a module of that name"),
    },
    "optim.clip": dict.fromkeys(("gradients", "parameters"), "gradients are values; torch's are of the parameters"),
    "optim.build": {"parameters": "a torch optimizer owns the parameters; one of optax is given them at each update"},
    "schedules.build": {
        "optimizer": "a torch scheduler acts on an optimizer; ours makes numbers from the recipe's, `config` there",
        "config": "`optimizer` in jaxnn",
        "schedule": "second, as torch's schedulers have it",
        **dict.fromkeys(("steps", "total_steps"), "the same number"),
    },
}
# torchref's function -> jaxnn's, where their modules are not namesakes.
MOVED = {"evaluate.evaluate": "loop.evaluate"}

# What recipes call things, by the module that builds them.
NAMES: dict[str, tuple[Any, ...]] = {
    "losses": typing.get_args(recipe.LossName),
    "optim": typing.get_args(recipe.OptimizerName),
    "schedules": typing.get_args(recipe.ScheduleName),
    "models": typing.get_args(recipe.Model),
}


def public(module: ModuleType) -> dict[str, Function]:
    """The functions and classes of a module, or of the package that it is."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value))
        if value.__module__.startswith(module.__name__)
    }


def shared() -> dict[str, tuple[Function, Function]]:
    """What both sides have, by its name in torchref: (jaxnn's, torchref's)."""
    ours, theirs = ({m.name for m in pkgutil.iter_modules(side.__path__)} for side in (jaxnn, torchref))
    found = {}
    for module in sorted(ours & theirs):
        mine, other = (public(importlib.import_module(f"{side}.{module}")) for side in ("jaxnn", "torchref"))
        found |= {f"{module}.{name}": (mine[name], other[name]) for name in mine if name in other}
    return found | {name: (_find("jaxnn", moved), _find("torchref", name)) for name, moved in MOVED.items()}


def _find(side: str, name: str) -> Function:
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"{side}.{module}"), function)


def _reasons(name: str) -> Reasons:
    return {**INTENDED.get(name.partition(".")[0], {}), **INTENDED.get(name, {})}


def unintended(name: str) -> dict[str, str]:
    """How the two signatures of a function differ without a reason given above."""
    return {parameter: how for parameter, how in drift(*shared()[name]).items() if parameter not in _reasons(name)}


def parameter_shapes(name: str) -> tuple[list[tuple[str, tuple[int, ...]]], ...]:
    """The names and shapes of a recipe's parameters and buffers, in order: (jaxnn's, torchref's)."""
    given = recipes.get(name)
    size: dict[str, Any] = {"input_shape": (30,), "outputs": 3}
    if given.input.size:
        size["input_shape"] = (given.input.size, given.input.size, given.input.channels)
    ours = state_dict(jaxnn.models.build(given.model, **size, rngs=TorchGenerator(0)))
    theirs = torchref.models.build(given.model, **size).state_dict()
    return [(key, x.shape) for key, x in ours.items()], [(key, tuple(x.shape)) for key, x in theirs.items()]


def built(module: str, name: Any) -> tuple[Any, Any]:
    """What ``name`` stands for: (jaxnn's, torchref's); None, or an error, if a side does not know it."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    match module:
        case "losses":
            loss, scores = recipe.Loss(name=name), np.full((3, 1 if name.startswith("bce") else 2), -0.5)
            ours, theirs = (side.build(loss, classes=2) for side in (jaxnn.losses, torchref.losses))
            labels = [0, 1, 1]
            return ours.value(jnp.asarray(scores), jnp.asarray(labels)), theirs(*map(torch.tensor, (scores, labels)))
        case "optim":
            optimizer = recipe.Optimizer(name=name)
            return jaxnn.optim.build(optimizer), torchref.optim.build([parameter], optimizer)
        case "schedules":
            schedule, optimizer = recipe.Schedule(name=name), recipe.Optimizer(momentum=0.9)
            scheduler = torchref.schedules.build(
                torchref.optim.build([parameter], optimizer), schedule, optimizer, epochs=4, steps=40
            )
            ours = jaxnn.schedules.build(schedule, optimizer=optimizer, epochs=4, total_steps=40)
            return ours, "none" if name == "constant" else scheduler
        case _:
            size: dict[str, Any] = {"input_shape": (32, 32, 1), "outputs": 2}
            kept: list[Any] = []
            jax.eval_shape(lambda: kept.append(jaxnn.models.build(name(), **size, rngs=nnx.Rngs(0))))
            with torch.device("meta"):  # VGG's weights, drawn and left, would take seconds
                return kept[0], torchref.models.build(name(), **size)


def registries() -> dict[str, tuple[str, set[Any]]]:
    """Each dict of either side that is keyed by what recipes call things: (the module of NAMES, its keys)."""
    found = {}
    for side in ("jaxnn", "torchref"):
        for module, names in NAMES.items():
            top = importlib.import_module(f"{side}.{module}")
            inner = pkgutil.iter_modules(getattr(top, "__path__", ()), f"{top.__name__}.")
            for part in (top, *(importlib.import_module(m.name) for m in inner if not m.name.endswith("_test"))):
                for variable, value in vars(part).items():
                    if isinstance(value, dict) and len(value.keys() & set(names)) > 1:
                        found[f"{part.__name__}.{variable}"] = module, set(value)
    return found


@pytest.mark.parametrize("name", shared())
def test_what_both_sides_have_is_called_alike(name: str) -> None:
    assert unintended(name) == {}


def test_what_a_recipe_needs_is_on_both_sides() -> None:
    """So that the search cannot succeed by finding nothing."""
    needed = {f"{module}.build" for module in NAMES} | {f"models.{spec.__name__}" for spec in NAMES["models"]}
    assert needed | {"loop.train", "evaluate.evaluate"} <= set(shared())


def test_every_difference_with_a_reason_is_there() -> None:
    found = {name: drift(*functions) for name, functions in shared().items()}
    for name, given in INTENDED.items():
        differing = {parameter for key in found if (key + ".").startswith(f"{name}.") for parameter in found[key]}
        assert set(given) <= differing, name


@pytest.mark.parametrize("name", recipes.SMALL)
def test_parameters_are_called_alike(name: str) -> None:
    ours, theirs = parameter_shapes(name)
    assert ours == theirs


@pytest.mark.parametrize(
    ("module", "name"),
    [pytest.param(module, name, id=f"{module}-{name}") for module, names in NAMES.items() for name in names],
)
def test_every_name_of_a_recipe_is_built_on_both_sides(module: str, name: Any) -> None:
    assert None not in built(module, name)


def test_registries_have_the_names_of_recipes_and_no_others() -> None:
    found = registries()
    assert {where.split(".")[0] + " " + module for where, (module, _) in found.items()} >= {
        f"{side} {module}" for side in ("jaxnn", "torchref") for module in ("optim", "models")
    }
    assert {where: keys for where, (module, keys) in found.items() if keys != set(NAMES[module])} == {}


def _with(function: Function, *, without: str | None = None, **changed: Any) -> Function:
    """A function whose signature lacks a parameter, or has others (name -> default)."""
    signature = inspect.signature(function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name not in (without, *changed)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [inspect.Parameter(name, keyword, default=default) for name, default in changed.items()]

    def drifted(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    drifted.__module__, drifted.__signature__ = function.__module__, signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return drifted


@pytest.mark.parametrize(
    ("where", "name", "changes"),
    [
        (jaxnn.losses, "losses.build", {"reduction": "mean"}),
        (torchref.losses, "losses.build", {"without": "classes"}),
        (torchref.loop, "loop.train", {"resume": True}),
        (jaxnn.optim, "optim.build", {"without": "optimizer", "config": None}),
    ],
)
def test_a_drifted_signature_is_caught(
    where: ModuleType, name: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = name.split(".")[1]
    monkeypatch.setattr(where, function, _with(getattr(where, function), **changes))
    assert unintended(name) != {}


def test_a_drifted_constructor_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchref.models.LeNet, "__init__", _with(torchref.models.LeNet.__init__, padding=0))
    assert set(unintended("models.LeNet")) == {"padding"}


def test_a_lost_network_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(jaxnn.models, "LeNet")
    assert "models.LeNet" not in shared()


def test_a_renamed_layer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Renamed(torchref.models.TabularMLP):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.head = self.output
            del self.output

    monkeypatch.setitem(torchref.models._CLASSES, recipe.TabularMLP, Renamed)
    ours, theirs = parameter_shapes("tabular-mlp")
    assert {key for key, _ in theirs} - {key for key, _ in ours} == {"head.weight", "head.bias"}


def test_a_missing_optimizer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(torchref.optim._OPTIMIZERS, "nadam")
    with pytest.raises(KeyError, match="nadam"):
        built("optim", "nadam")


def test_an_optimizer_that_no_recipe_names_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torchref.optim._OPTIMIZERS, "adadelta", torch.optim.Adadelta)
    module, keys = registries()["torchref.optim._OPTIMIZERS"]
    assert keys - set(NAMES[module]) == {"adadelta"}
