"""A recipe compared with its PyTorch mirror: model, loss, optimizer, then real training from the same seed."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import backbone, experiment, losses, models
from jaxnn import precision as precisions
from jaxnn.data import Dataset
from jaxnn.parity import band
from jaxnn.parity.port import recorder
from jaxnn.parity.port.port import Port
from jaxnn.parity.recording import Arrays, Recording, under
from jaxnn.parity.report import Entry, Report
from jaxnn.parity.verdict import verdict
from jaxnn.parity.verdict.judge import Band
from jaxnn.parity.verdict.tolerances import error
from jaxnn.precision import Dtypes
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.step import TrainState
from jaxnn.torch_random import TorchGenerator

_EXAMPLES = 64  # of a batch at most, where layers are compared


def compare_recipe(recipe: Recipe, dataset: Dataset) -> Report:
    """Both frameworks from the same seed on the prepared ``dataset``, in the recipe's precision.

    Compares the weights drawn, every layer, loss and gradient in training and in evaluation, the optimizer, and the
    loss, parameters, state and buffers after every step of training; ``recipe.steps`` says how many.
    """
    with precisions.activate(recipe.precision) as dtypes:
        evaluated, in_evaluation = first_pass(recipe, dataset, train=False)
        theirs, ours = first_pass(recipe, dataset, train=True)
        options = recipe.optimizer.options | {"name": recipe.optimizer.name, "lr": recipe.optimizer.learning_rate}
        length = {"steps": recipe.steps or 0, "loss": recipe.loss.name, "optimizer": options}
        left = Recording(**vars(theirs) | length)
        title = f"{recipe.name} on {dataset.name}, {recipe.precision}"

        def judged(own: Band | None) -> Report:
            return verdict(left, ours.recording, _in_step(recipe, dataset, dtypes, ours.port), band=own, title=title)

        report = judged(_band(recipe, dataset) if recipe.precision == "float32" else None)
        if report.parts_in_training_alone:
            report = judged(_band(recipe, dataset))
        others = verdict(evaluated, in_evaluation.recording, (), title=title).entries
    forward = [replace(entry, what=f"{entry.what}, evaluation") for entry in others if entry.level == "forward"]
    return replace(report, entries=(_same_start(left, ours.recording), *_merged(report.entries, forward)))


def compare_accuracy(recipe: Recipe, dataset: Dataset) -> Entry:
    """The test accuracies that both frameworks reach from the same seed, by the whole recipe; in float64 they may
    differ by 0.1 points, else by 0.5."""
    import torchref.loop
    from jaxnn import loop

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (
            train(recipe, dataset, RunDir(Path(folder) / name))["test_accuracy"]
            for name, train in (("jax", loop.train), ("torch", torchref.loop.train))
        )
    return Entry(
        level="accuracy",
        torch_name="test accuracy",
        nnx_path="",
        what="difference",
        error=abs(ours - theirs),
        tolerance=0.001 if recipe.precision == "float64" else 0.005,
        note=f"JAX {ours:.4f}, PyTorch {theirs:.4f}",
    )


def _merged(entries: tuple[Entry, ...], forward: list[Entry]) -> tuple[Entry, ...]:
    """The forward entries of evaluation behind those of training."""
    last = max(number for number, entry in enumerate(entries) if entry.level in ("weights", "init", "forward"))
    return (*entries[: last + 1], *forward, *entries[last + 1 :])


def _same_start(left: Recording, right: Recording) -> Entry:
    """What either framework draws from the seed: the same bits."""
    ours, theirs = right.under("initial"), left.under("weight")
    found = max(error(ours[key], value) for key, value in theirs.items() if key in ours)
    return Entry(level="init", torch_name="all", nnx_path="", what="same draws", error=found, tolerance=0.0)


def first_pass(recipe: Recipe, dataset: Dataset, *, train: bool) -> tuple[Recording, recorder.Run]:
    """Of both frameworks, on the first examples, inside ``jaxnn.precision.activate``."""
    import torch

    import torchref.losses
    import torchref.models
    import torchref.recorder
    from torchref.precision import default_dtype, dtype
    from torchref.step import normalize

    chosen = slice(0, min(recipe.batch_size or _EXAMPLES, _EXAMPLES, len(dataset.train)))
    inputs = normalize(torch.tensor(dataset.train.inputs[chosen]), recipe.input, dtype(recipe.precision)).numpy()
    batch = (inputs, np.asarray(dataset.train.labels[chosen]))
    classes = len(dataset.classes)
    shapes: dict[str, Any] = {"input_shape": dataset.input_shape, "outputs": 1 if recipe.loss.binary else classes}
    with torch.random.fork_rng(devices=[]), default_dtype("float32"):  # in which all precisions draw their weights
        torch.manual_seed(recipe.seed)
        original = torchref.models.build(recipe.model, **shapes)
    their_loss = torchref.losses.build(recipe.loss, classes=classes)
    theirs = torchref.recorder.record(original, batch, loss=their_loss, precision=recipe.precision, train=train)
    port = models.build(recipe.model, **shapes, rngs=TorchGenerator(recipe.seed))
    our_loss = losses.build(recipe.loss, classes=classes).value
    return theirs.recording, recorder.record(port, theirs.recording, loss=(their_loss, our_loss))


def _in_step(recipe: Recipe, dataset: Dataset, dtypes: Dtypes, port: Port) -> Iterator[tuple[Arrays, Arrays]]:
    """Each step of PyTorch's training and jaxnn's, the latter by the very program that `jaxnn train` runs."""
    from torchref import stepping

    if not recipe.steps:
        return
    prepared, state = experiment.build(recipe, dataset, dtypes)

    @jax.jit
    def update(given: Any, optimizer: Any, params: Any, scalars: Any) -> tuple[Any, Any]:
        updates, optimizer = prepared.rule.update(given, optimizer, params, scalars)
        return jax.tree.map(jnp.add, params, updates), optimizer

    layer = recipe.trained_layer
    alone = backbone.trained(state.params, layer), state.optimizer
    params, optimizer = jax.tree.map(jnp.array, alone)  # of the optimizer alone
    theirs = stepping.steps(recipe, dataset)
    for epoch in range(1, -(-prepared.total // prepared.batches.steps) + 1):
        for part in prepared.epoch_parts(epoch)[0]:
            record = experiment.empty_record(len(part.examples), dtypes)
            for i in range(min(len(part.examples), prepared.epoch_steps(epoch) - part.first)):
                left = next(theirs)
                state, record = prepared.advance(state, record, part, i, i + 1)
                given = backbone.trained(port.gradients_in_nnx(under(left, "gradient")), layer)
                scalars = {name: np.asarray(values)[i] for name, values in part.segment.scalars.items()}
                params, optimizer = update(given, optimizer, params, scalars)
                seen = jax.device_get((record.loss[i], state, params, optimizer.slots))
                yield left, _arrays(port, *seen)


def _arrays(port: Port, loss: Any, state: TrainState, alone: Any, slots: dict[str, Any]) -> Arrays:
    """What a step left behind, on the host and in PyTorch's layout."""
    found: dict[str, Any] = {"loss": loss}
    found |= {f"buffer/{key}": value for key, value in port.in_torch({}, state.buffers).items()}
    for prefix, params, held in (("", state.params, state.optimizer.slots), ("given/", alone, slots)):
        found |= {f"{prefix}parameter/{key}": value for key, value in port.in_torch(params).items()}
        for slot, tree in held.items():
            found |= {f"{prefix}state/{key}/{slot}": value for key, value in port.slot_in_torch(tree).items()}
    return found


def _band(recipe: Recipe, dataset: Dataset) -> Band:
    from torchref import stepping

    return band.measure(lambda variation=None: stepping.steps(recipe, dataset, variation), reverse=False)
