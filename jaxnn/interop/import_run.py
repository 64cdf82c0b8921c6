"""A run made of PyTorch's files: it can be evaluated, exported and trained on as if it had been trained here."""

import contextlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnn import environment, experiment, precision, step
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.data import Dataset, Split
from jaxnn.dropout_sites import DropoutSite, dropout_sites
from jaxnn.errors import UserError
from jaxnn.experiment import Member
from jaxnn.interop import rng, state_dict, training_state
from jaxnn.interop.weights import Arrays, matched
from jaxnn.metrics_rows import as_rows
from jaxnn.position import Position
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.step import TrainState

Notice = Callable[[str], None]


class Given(NamedTuple):
    """What there is to import: a state_dict, and perhaps the state of a training (see ``training_state``) of ``step``
    steps, if it does not say so itself. ``where`` and ``training_where`` name the files."""

    arrays: Arrays
    where: str
    training: dict[str, Any] | None = None
    training_where: str = ""
    step: int | None = None


def into_jax(given: Given, recipe: Recipe, dataset: Dataset | None, run: RunDir, notice: Notice) -> int:
    """Writes ``run``, whose last step it returns; without the data set it cannot yet be trained on.

    Raises UserError, before anything is written, for what does not fit the recipe.
    """
    with precision.activate(recipe.precision) as dtypes:
        data = dataset or _stand_in(given, recipe)
        member = experiment.member(recipe, data, dtypes)
        state, rules = step.initial_state(member.model, member.rule), state_dict.rules(member.model)
        shapes = {
            key: (value.shape, value.dtype)
            for key, value in state_dict.to_torch(rules, state.params, state.buffers).items()
        }
        arrays = matched(given.arrays, shapes, where=given.where, notice=notice)
        params, buffers = (state_dict.to_nnx(rules, arrays, tree) for tree in (state.params, state.buffers))
        position = Position.at_epoch(1, member.batches.steps, member.stream.state(), dtypes)
        taken, slots, rows = 0, state.optimizer.slots, []
        if given.training is not None:
            if dataset is None:
                raise UserError(
                    f"{given.training_where} is the state of a training, whose place in the data depends on the data: "
                    "name them with --dataset or --data-dir"
                )
            with _naming_damage(given.training_where):
                slots, said, schedule = training_state.read(
                    given.training, recipe, rules, state.optimizer, where=given.training_where
                )
                taken = _steps(given, said)
                rows = as_rows(given.training.get("position", {}).get("rows", []))
                position = _position(given.training.get("position", {}), taken, member, data, position)
                if recipe.schedule.name not in ("constant", "one_cycle"):
                    member.schedule.restore(schedule | {"epoch": position.epoch - 1})
        count = jnp.asarray(taken, jnp.int32)
        state = TrainState(count, params, buffers, state.optimizer._replace(count=count, slots=slots))
        described = environment.describe(data)
        if dataset is None:
            described["data"] |= {"source": "none", "fingerprint": None, "train_examples": 0, "test_examples": 0}
        with _created(run, recipe, "jax"), Checkpoints(run.checkpoints) as checkpoints:
            run.write_environment(described)
            run.write_metrics(rows)
            at = position.record() | {"schedule": member.schedule.state()}
            record = position.arrays() if dataset is not None else None
            checkpoints.save(Saved(taken, tuple(state), record, at))
    return taken


def into_torch(given: Given, recipe: Recipe, dataset: Dataset | None, run: RunDir, notice: Notice) -> int:
    """``into_jax`` for a run of --framework torch."""
    import torch

    import torchref.checkpoint
    import torchref.environment
    from torchref import precision as precisions
    from torchref import state as states

    if dataset is None:
        raise UserError("a run of --framework torch needs its data: name them with --dataset or --data-dir")
    device = precisions.device()
    plan = states.plan(recipe, len(dataset.train))
    with precisions.activate(recipe.precision), torch.random.fork_rng(devices=[]):
        state = states.start(recipe, dataset, device, plan)
        shapes = {key: (tuple(x.shape), x.cpu().numpy().dtype) for key, x in state.model.state_dict().items()}
        arrays = matched(given.arrays, shapes, where=given.where, notice=notice)
        state.model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})
        if given.training is not None:
            with _naming_damage(given.training_where):
                _continue_torch(given, recipe, state, plan)
                as_rows(state.rows)
        with _created(run, recipe, "torch"):
            run.write_environment(torchref.environment.describe(dataset, device))
            run.write_metrics(state.rows)
            torchref.checkpoint.save(run, states.snapshot(state))
    return state.step


def _continue_torch(given: Given, recipe: Recipe, state: Any, plan: Any) -> None:
    import torch

    from torchref.tally import Tally

    training = given.training or {}
    position = training.get("position", {})
    if "epoch_rng" not in position:
        raise UserError(
            f"{given.training_where} does not say where the training is in its random stream; "
            "`jaxnn export` writes that, and --framework jax can do without"
        )
    inner = training.get("optimizer", training)
    state.optimizer.load_state_dict({name: inner[name] for name in ("state", "param_groups")})
    if state.scheduler is not None:
        state.scheduler.load_state_dict(training["scheduler"])
    for name in ("epoch", "step", "step_in_epoch", "seconds", "rows"):
        setattr(state, name, position[name])
    if len(position.get("losses", ())) != position["step_in_epoch"]:
        raise UserError(f"{given.training_where} does not hold the losses of the epoch; move it at an epoch's end")
    if position["step_in_epoch"]:
        state.tally = Tally(losses=position["losses"], correct=position["correct"])
    state.epoch_rng = position["epoch_rng"]
    torch.set_rng_state(position["rng"])


@contextlib.contextmanager
def _naming_damage(where: str) -> Iterator[None]:
    """A pickled dict can hold anything in the place of anything."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of values of another kind
            yield
    except UserError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{where} is not the state of a training, or damaged ({why}); save it again") from error


def _steps(given: Given, said: int | None) -> int:
    if given.step is not None and said not in (None, given.step):
        raise UserError(f"--step {given.step}: {given.training_where} says that {said} steps are taken")
    taken = given.step if said is None else said
    if taken is None:
        raise UserError(f"{given.training_where} does not say after how many steps it was saved; add --step N")
    if type(taken) is not int or taken < 0:
        raise UserError(f"{given.training_where} says that {taken} steps are taken; save it again")
    return taken


def _position(said: dict[str, Any], taken: int, member: Member, dataset: Dataset, start: Position) -> Position:
    """Where the run is in its data: as the file says, or as if all steps had been taken here from the seed on."""
    if taken > member.total:
        raise UserError(f"{taken} steps are taken, which is more than the recipe's {member.total}; set --epochs")
    epochs, done = divmod(taken, member.batches.steps)
    stream = member.stream
    if "epoch_rng" in said and member.recipe.rng == "torch":
        stream.restore(rng.from_bytes(np.asarray(said["epoch_rng"])))
    else:
        sites: list[DropoutSite] = dropout_sites(member.model, dataset.input_shape)
        for epoch in range(1, epochs + 1):
            stream.epoch_order(epoch, len(dataset.train), shuffle=member.recipe.shuffle)
            stream.masks(epoch, member.batches, sites)
    start.epoch, start.done, start.stream = epochs + 1, done, stream.state()
    if len(said.get("losses", ())) == done > 0:
        start.loss[:done], start.correct[:done] = np.asarray(said["losses"]), np.asarray(said["correct"])
        start.seconds = float(said["seconds"])
    return start


def _stand_in(given: Given, recipe: Recipe) -> Dataset:
    """One blank example for what depends on the shapes of data alone."""
    head = f"{recipe.model.head}.weight"
    if head not in given.arrays:
        raise UserError(f"{given.where} has no {head}; it holds {', '.join(list(given.arrays)[:5])}, ...")
    # By name, since .safetensors has no order; a table's model has linear1, linear2, ..., output.
    first = min((key for key, value in given.arrays.items() if value.ndim > 1), default=head)
    for key in (head, first):
        shape = given.arrays[key].shape
        if 0 in shape or not shape:
            raise UserError(
                f"{given.where}: {key} has the shape {shape}, which no layer has; save model.state_dict() again"
            )
    outputs = 2 if recipe.loss.binary else len(given.arrays[head])
    blank: np.ndarray
    if recipe.input.size is not None:
        blank = np.zeros((1, recipe.input.size, recipe.input.size, recipe.input.channels or 1), np.uint8)
    else:
        blank = np.zeros((1, given.arrays[first].shape[-1]), np.float32)
    part = Split(blank, np.zeros(1, np.int32))
    classes = tuple(map(str, range(outputs)))
    return Dataset(name=recipe.dataset or "", train=part, test=part, classes=classes, source="none")


@contextlib.contextmanager
def _created(run: RunDir, recipe: Recipe, framework: Any) -> Iterator[None]:
    """A new run, of which nothing is left if it cannot be written. Raises UserError if another process trains there."""
    with run.locked():
        run.create(recipe, framework)
        try:
            yield
        except BaseException:
            shutil.rmtree(run.checkpoints, ignore_errors=True)
            for file in (run.recipe_file, run.environment_file, run.metrics_file, run.path / ".lock"):
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                run.path.rmdir()
            raise
