"""A checkpoint of a run as PyTorch's files have it: the model's state_dict, and the state of the training."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxnn import precision, streams, trained
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.checkpoint_choice import Choice
from jaxnn.data.order import Batching, batching
from jaxnn.errors import UserError
from jaxnn.interop import rng, state_dict, training_state
from jaxnn.interop.weights import Arrays
from jaxnn.optim import State
from jaxnn.position import Position, require_valid
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir
from jaxnn.trained import Structure

Notice = Callable[[str], None]


def from_run(
    run: RunDir, recipe: Recipe, framework: Framework, notice: Notice, checkpoint: Choice = "newest"
) -> tuple[Arrays, dict[str, Any]]:
    """The state_dict and, with PyTorch's tensors, what ``training_state`` describes.

    Raises UserError if the run has no such checkpoint that can be read.
    """
    if framework == "torch":
        return _from_torch(run, notice, checkpoint)
    return _from_jax(run, recipe, notice, checkpoint)


def weights_of(
    run: RunDir, recipe: Recipe, framework: Framework, notice: Notice, checkpoint: Choice = "newest"
) -> Arrays:
    """The state_dict alone, for which a run of JAX needs no PyTorch."""
    if framework == "torch":
        return _from_torch(run, notice, checkpoint)[0]
    with precision.activate(recipe.precision) as dtypes:
        structure = trained.structure(trained.describe(run, recipe), dtypes.param)
        _, params, buffers, _ = _saved(run, recipe, structure, notice, checkpoint).state
        return state_dict.to_torch(structure.rules, params, buffers)


def _from_jax(run: RunDir, recipe: Recipe, notice: Notice, checkpoint: Choice) -> tuple[Arrays, dict[str, Any]]:
    with precision.activate(recipe.precision) as dtypes:
        structure = trained.structure(trained.describe(run, recipe), dtypes.param)
        saved = _saved(run, recipe, structure, notice, checkpoint)
        _, params, buffers, optimizer = saved.state
        training = training_state.write(
            recipe,
            structure.rules,
            params,
            State(*optimizer),
            saved.position["schedule"],
            step=saved.step,
            steps_per_epoch=_batches(run, recipe).steps,
        )
        position = _position(run, recipe, structure, saved)
        arrays = state_dict.to_torch(structure.rules, params, buffers)
    return arrays, training | {"position": position}


def _saved(run: RunDir, recipe: Recipe, structure: Structure, notice: Notice, checkpoint: Choice) -> Saved:
    batches = _batches(run, recipe)
    record = Position.at_epoch(1, batches.steps, {}, precision.DTYPES[recipe.precision]).arrays()
    with Checkpoints(run.checkpoints) as checkpoints:
        saved = checkpoints.find(checkpoint, notice, tuple(structure.state), record)
    if saved is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
    where = run.checkpoints / str(saved.step)
    require_valid(saved.position, where, step=saved.step, batches=batches, rng=recipe.rng)
    return saved


def _batches(run: RunDir, recipe: Recipe) -> Batching:
    return batching(run.trained_on().examples or 1, recipe)  # imported without data: no step is taken


def _position(run: RunDir, recipe: Recipe, structure: Structure, saved: Saved) -> dict[str, Any]:
    import torch

    at, done = saved.position, saved.position["done"]
    position: dict[str, Any] = {
        "step": saved.step,
        "epoch": at["epoch"],
        "step_in_epoch": done,
        "seconds": at["seconds"],
        "rows": [row for row in run.read_metrics() if row["step"] <= saved.step],
    }
    if saved.record is not None and not np.isnan(saved.record["loss"][:done]).any():
        position["losses"] = torch.from_numpy(saved.record["loss"][:done].astype(np.float64))
        position["correct"] = torch.from_numpy(saved.record["correct"][:done].astype(np.int64))
    if recipe.rng == "torch":
        states = {"epoch_rng": at["stream"], "rng": _stream_now(run, recipe, structure, at)}
        position |= {
            name: torch.from_numpy(np.array(rng.to_bytes(state, seed=recipe.seed))) for name, state in states.items()
        }
    return position


def _stream_now(run: RunDir, recipe: Recipe, structure: Structure, position: dict[str, Any]) -> dict[str, Any]:
    """The random stream after the epoch's order and the masks of the steps done are drawn."""
    stream = streams.TorchStream(recipe.seed)
    stream.restore(position["stream"])
    if position["done"] == 0:
        return stream.state()
    examples = run.trained_on().examples
    stream.epoch_order(position["epoch"], examples, shuffle=recipe.shuffle)
    batches = batching(examples, recipe)
    for step in range(position["done"]):
        stream.step_masks(batches.batch_size if step < batches.full_steps else batches.tail, structure.dropout)
    return stream.state()


def _from_torch(run: RunDir, notice: Notice, checkpoint: Choice) -> tuple[Arrays, dict[str, Any]]:
    import torchref.checkpoint

    saved = torchref.checkpoint.load(run, notice, checkpoint)
    if saved is None:
        raise UserError(f"{run.path} has no checkpoint yet; train it first, or continue it with --resume")
    arrays = {key: value.contiguous().numpy() for key, value in saved["model"].items()}
    names = ("step", "epoch", "step_in_epoch", "seconds", "losses", "correct", "epoch_rng", "rng", "rows")
    scheduler = {} if saved["scheduler"] is None else {"scheduler": saved["scheduler"]}
    return arrays, saved["optimizer"] | scheduler | {"position": {name: saved[name] for name in names}}
