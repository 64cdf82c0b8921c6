"""A recipe, and how runs compare, in words and in tables."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxnn.recipe import Recipe
from jaxnn.report.runs import Run, Series

_TITLES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nadam": "NAdam", "rmsprop": "RMSprop", "adagrad": "Adagrad"}


def sentence(run: Run) -> str:
    """The recipe as one would tell it."""
    recipe, data = run.recipe, run.data
    optimizer = recipe.optimizer
    parts = [f"{_network(recipe)} on {_examples(data, recipe)}"]
    method = f"{_TITLES.get(optimizer.name, optimizer.name)} with learning rate {optimizer.learning_rate:g}"
    if optimizer.name == "sgd" and optimizer.momentum:
        method += f" and {'Nesterov ' if optimizer.nesterov else ''}momentum {optimizer.momentum:g}"
    if recipe.schedule.name != "constant":
        method += f" (schedule {recipe.schedule.name.replace('_', ' ')})"
    parts.append(f"{recipe.loss.name.replace('_', ' ')} loss, {method}")
    size = "the whole training set at once" if recipe.batch_size is None else f"batches of {recipe.batch_size:,}"
    parts.append(f"{size}, {'shuffled' if recipe.shuffle else 'in order'}")
    parts.append(f"{recipe.steps:,} steps" if recipe.steps else f"{recipe.epochs:,} epochs")
    streams = {"torch": "the random numbers of torch.manual_seed", "jax": "JAX's random numbers"}[recipe.rng]
    parts.append(f"{recipe.precision}, {streams}")
    return "; ".join(parts) + "."


def _network(recipe: Recipe) -> str:
    hidden = getattr(recipe.model, "hidden", None)
    widths = [hidden] if isinstance(hidden, int) else list(hidden or ())
    layers = f" with {'-'.join(map(str, widths))} hidden units" if widths else ""
    return f"Network {recipe.model.kind.replace('_', ' ')}{layers}"


def _examples(data: dict[str, Any], recipe: Recipe) -> str:
    name = str(data.get("name", recipe.dataset))
    if not {"train_examples", "test_examples", "input_shape", "classes"} <= data.keys():
        return name
    shape = data["input_shape"]
    kind = f"images of {'x'.join(map(str, shape))}" if len(shape) == 3 else f"rows of {shape[0]} columns"
    counts = f"{data['train_examples']:,} to train on, {data['test_examples']:,} to test on"
    return f"{name}: {kind} in {len(data['classes'])} classes, {counts}"


def comparisons(series: Sequence[Series]) -> list[str]:
    """Runs of JAX and of PyTorch with the same recipe, seed included: how they end.

    Not how fast they were: runs at different times on a shared machine do not measure that; `jaxnn bench` does."""
    found = []
    runs = [(each, run) for each in series for run in each.runs if run.rows]
    for ours, jax in runs:
        for theirs, torch in runs:
            if (jax.framework, torch.framework) != ("jax", "torch") or not _same(jax.recipe, torch.recipe):
                continue
            ends = [run.rows[-1] for run in (jax, torch)]
            accuracies = [end.get("test_accuracy", math.nan) for end in ends]
            names = f"JAX ({ours.name}) and PyTorch ({theirs.name})"
            if ours.many or theirs.many:
                names += f", seed {jax.recipe.seed}"
            text = f"{names} ran the same recipe from the same seed: test accuracy {accuracies[0]:.4f} and "
            text += f"{accuracies[1]:.4f} after epochs {ends[0]['epoch']} and {ends[1]['epoch']}"
            found.append(text + ".")
    return found


def speed(run: Run) -> float:
    """Examples a second of training, over all epochs; 0 if that was not measured."""
    examples = sum(row.get("examples_per_second", 0.0) * row.get("seconds", 0.0) for row in run.rows)
    return examples / run.seconds if run.seconds > 0 else 0.0


def _same(first: Recipe, second: Recipe) -> bool:
    return _without_places(first) == _without_places(second)


def _without_places(recipe: Recipe) -> Recipe:
    """Without what leaves the result of a training as it is."""
    return dataclasses.replace(recipe, data_dir=None, eval_batch_size=1, dispatch="auto", log_every=None)


def tables(recipe: Recipe) -> dict[str, dict[str, str]]:
    """The recipe's fields by group; of a schedule that is constant its name alone."""
    document = dataclasses.asdict(recipe)
    if recipe.schedule.name == "constant":
        document["schedule"] = {"name": "constant"}
    single = {key: value for key, value in document.items() if not isinstance(value, dict)}
    groups = {"recipe": single} | {key: value for key, value in document.items() if isinstance(value, dict)}
    return {
        name: {key.replace("_", " "): inline(value) for key, value in group.items()} for name, group in groups.items()
    }


def surroundings(environment: dict[str, Any]) -> dict[str, dict[str, str]]:
    """environment.json by group, without the class names, which the tables have, and the numbers of each column."""
    single, groups = {}, {}
    for key, value in environment.items():
        label = key.replace("_", " ")
        if isinstance(value, dict):
            groups[label] = {
                str(name).replace("_", " "): inline(item)
                for name, item in value.items()
                if name not in ("classes", "scaling")
            }
        elif value not in (None, ""):
            single[label] = inline(value)
    return ({"machine": single} if single else {}) | groups


def inline(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(inline, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
