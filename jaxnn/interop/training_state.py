"""A training as PyTorch keeps it: the optimizer's state_dict(), with "scheduler" and "position" beside its own keys.

``torch.optim.Optimizer.load_state_dict`` takes the whole. "position" has what torchref's checkpoints have of it: step,
epoch, step_in_epoch, seconds, losses, correct, and the random stream when the epoch began and now (epoch_rng, rng).
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxnn import optim
from jaxnn.errors import UserError
from jaxnn.interop.state_dict import Rules, to_nnx, to_torch
from jaxnn.recipe import Recipe

_PLATEAU = {"best": "best", "bad_epochs": "num_bad_epochs", "cooldown": "cooldown_counter"}
_KINDS = {"best": float, "bad_epochs": int, "cooldown": int}


def write(
    recipe: Recipe,
    rules: Rules,
    params: Any,
    state: optim.State,
    schedule: Mapping[str, Any],
    *,
    step: int,
    steps_per_epoch: int,
) -> dict[str, Any]:
    """What PyTorch's optimizer and scheduler of ``recipe`` would hold after ``step`` steps of a run of jaxnn.

    ``schedule``: its state, as checkpoints have it.
    """
    import torch

    import torchref.optim
    import torchref.schedules

    arrays = to_torch(rules, params)
    names = [key for key, leaf in rules.items() if leaf.trained]
    parameters = [torch.nn.Parameter(torch.from_numpy(np.array(arrays[key]))) for key in names]
    optimizer = torchref.optim.build(parameters, recipe.optimizer)
    total = recipe.steps or recipe.epochs * steps_per_epoch
    epochs = -(-total // steps_per_epoch)
    scheduler = torchref.schedules.build(optimizer, recipe.schedule, recipe.optimizer, epochs=epochs, steps=total)
    slots = {name: to_torch(rules, tree) for name, tree in state.slots.items()}
    for key, parameter in zip(names, parameters, strict=True):
        held = {name: torch.from_numpy(np.array(tree[key])) for name, tree in slots.items() if key in tree}
        if held and step:
            counted = {} if recipe.optimizer.name == "sgd" else {"step": torch.tensor(float(step))}
            optimizer.state[parameter] = counted | held
    if scheduler is not None:
        _advance(scheduler, recipe, schedule, step)
    return optimizer.state_dict() | ({} if scheduler is None else {"scheduler": scheduler.state_dict()})


def _advance(scheduler: Any, recipe: Recipe, schedule: Mapping[str, Any], step: int) -> None:
    """Takes a new scheduler, and its optimizer, to where ``schedule`` is."""
    if recipe.schedule.name == "plateau":
        scheduler.last_epoch = schedule["epoch"]
        for ours, theirs in _PLATEAU.items():
            if schedule.get(ours) is not None:
                setattr(scheduler, theirs, schedule[ours])
    with warnings.catch_warnings(action="ignore"):  # that its optimizer has not taken these steps
        for _ in range({"one_cycle": step, "plateau": 0}.get(recipe.schedule.name, int(schedule["epoch"]))):
            scheduler.step()
    if recipe.schedule.name == "plateau":
        scheduler.optimizer.param_groups[0]["lr"] = schedule["learning_rate"]


def read(
    content: Mapping[str, Any], recipe: Recipe, rules: Rules, like: optim.State, *, where: str
) -> tuple[dict[str, Any], int | None, dict[str, Any]]:
    """The slots of jaxnn's optimizer, the steps that it has taken (None: not said), and the state of the schedule
    (without "epoch").

    ``like``: the state of a new optimizer. Raises UserError for another optimizer, other options or other parameters.
    """
    content = _optimizer(content, where)
    held, group = content["state"], content["param_groups"][0]
    names = _names(content, rules, recipe, where)
    _require_options(group, recipe, where)
    found = {key: held[i] for i, key in enumerate(names) if i in held}
    wanted = set(like.slots)
    kinds = {name for one in found.values() for name in one if one[name] is not None} - {"step"}
    if found and kinds != wanted:
        raise UserError(
            f"{where} holds {', '.join(sorted(kinds)) or 'nothing'} of each parameter, but the recipe's "
            f"{recipe.optimizer.name} has {', '.join(sorted(wanted)) or 'nothing'};"
            " name the one it was with --optimizer.name"
        )
    slots = {}
    for name, tree in like.slots.items():
        start = to_torch(rules, tree)
        arrays = {key: _numpy(found[key][name]) if key in found else value for key, value in start.items()}
        wrong = [key for key, value in arrays.items() if value.shape != start[key].shape]
        if wrong:
            raise UserError(f"{where}: {name} of {', '.join(wrong)} has another shape than in the model")
        slots[name] = to_nnx(rules, arrays, tree)
    steps = {int(one["step"]) for one in found.values() if "step" in one}
    position = content.get("position", {})
    step = position.get("step", max(steps) if steps else None if found else 0 if wanted else None)
    return slots, step, {"learning_rate": float(group["lr"])} | _plateau(content.get("scheduler") or {})


def _optimizer(content: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The part with the optimizer's own keys: training scripts often keep it under a name."""
    inner = content.get("optimizer", content.get("optimizer_state_dict"))
    if isinstance(inner, Mapping):
        content = {**{key: content[key] for key in ("scheduler", "position") if key in content}, **inner}
    if not (isinstance(content.get("state"), Mapping) and content.get("param_groups")):
        raise UserError(f"{where} is no optimizer's state: save optimizer.state_dict()")
    return content


def _names(content: Mapping[str, Any], rules: Rules, recipe: Recipe, where: str) -> list[str]:
    """The key of each of the optimizer's parameters: all of the model's, or those of the only layer that is trained."""
    count = sum(len(group["params"]) for group in content["param_groups"])
    every = [key for key, leaf in rules.items() if leaf.trained]
    layer = recipe.trained_layer
    part = [key for key in every if layer is not None and key.rpartition(".")[0] == layer]
    names = next((names for names in (every, part) if len(names) == count), None)
    if names is None:
        raise UserError(f"{where} is of an optimizer of {count} parameters, but the model has {len(every)}")
    shared = [{key: value for key, value in group.items() if key != "params"} for group in content["param_groups"]]
    if any(group != shared[0] for group in shared):
        raise UserError(f"{where} has groups of parameters with options of their own, which recipes do not have")
    return names


def _require_options(group: Mapping[str, Any], recipe: Recipe, where: str) -> None:
    cycled = {"momentum", "betas"} if recipe.schedule.name == "one_cycle" else set()
    wanted = {name: value for name, value in recipe.optimizer.options.items() if name not in cycled}
    given: dict[str, Any] = {name: group.get(name) for name in wanted}
    if recipe.schedule.name != "one_cycle":
        wanted["lr"], given["lr"] = recipe.optimizer.learning_rate, group.get("initial_lr", group["lr"])
        if recipe.schedule.name == "plateau":
            given["lr"] = wanted["lr"]  # PyTorch does not keep the first one
    wrong = [
        f"{name} is {given[name]} instead of {value}"
        for name, value in wanted.items()
        if (tuple(given[name]) if isinstance(given[name], list) else given[name]) != value
    ]
    if wrong:
        raise UserError(
            f"{where} does not fit the recipe's optimizer: {'; '.join(wrong)}; give the recipe its options, "
            "--optimizer.learning-rate for lr"
        )


def _plateau(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    held = {ours: scheduler[theirs] for ours, theirs in _PLATEAU.items() if theirs in scheduler}
    found: dict[str, Any] = {ours: _KINDS[ours](value) for ours, value in held.items()}
    if "best" in found and not math.isfinite(found["best"]):  # nothing seen yet
        found["best"] = None
    return found


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
