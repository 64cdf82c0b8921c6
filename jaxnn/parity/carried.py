"""A training carried over in its middle: PyTorch's into JAX and back, to the bit, and then on in both.

By what `jaxnn export` and `jaxnn import` do. The leaves in JAX are found by the pairing of the parity toolkit, not by
the rules that carried them: a mistake that is made on the way there and undone on the way back is seen too.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnn import precision as precisions
from jaxnn import trained
from jaxnn.checkpoint import Checkpoints
from jaxnn.data import Dataset
from jaxnn.errors import Interrupted
from jaxnn.interop import export_run, import_run
from jaxnn.optim import State
from jaxnn.parity.port.port import Port
from jaxnn.parity.recipe_run import first_pass
from jaxnn.parity.report import Entry
from jaxnn.parity.verdict.tolerances import error, tolerances
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir

_STEPS = 10  # before the move, and after it

_POSITION = ("step", "epoch", "step_in_epoch", "losses", "correct", "epoch_rng", "rng")


class _Held(NamedTuple):
    """A training in PyTorch's form. ``tensors``: the state_dict; ``slots``: the optimizer's, by key and slot;
    ``others``: numbers by what they belong to."""

    tensors: Mapping[str, np.ndarray]
    slots: dict[tuple[str, str], np.ndarray]
    others: dict[str, dict[str, np.ndarray]]


def compare_state(recipe: Recipe, dataset: Dataset) -> tuple[Entry, ...]:
    """Steps in PyTorch, then its weights, buffers, optimizer state, schedule and position in JAX and back in PyTorch,
    each without any difference; if so, as many steps in both, within the tolerance of a trajectory.

    On the prepared ``dataset``, in the recipe's precision.
    """
    recipe = recipe.replace(steps=2 * _STEPS, log_every=1)
    with precisions.activate(recipe.precision):
        port = first_pass(recipe, dataset, train=True)[1].port
    trained_names = set(port.in_torch(port.params))
    with tempfile.TemporaryDirectory() as folder:
        start, jax_run, back = (RunDir(Path(folder) / name) for name in ("start", "jax", "back"))
        _train(recipe, dataset, start, "torch", until=_STEPS)
        given = _given(recipe, start, "torch")
        before = _held(given, trained_names)
        import_run.into_jax(given, recipe, dataset, jax_run, _ignore)
        in_jax = _in_jax(recipe, jax_run, port, before)
        import_run.into_torch(_given(recipe, jax_run, "jax"), recipe, dataset, back, _ignore)
        after = _held(_given(recipe, back, "torch"), trained_names)
        moved = [
            *_compared(before._replace(others={}), in_jax, "in JAX", 0.0),
            *_compared(before, after, "back in PyTorch", 0.0),
        ]
        if any(entry.failed for entry in moved):  # what is lost may even make the next steps' numbers infinite
            return tuple(moved)
        theirs = _later(recipe, dataset, start, "torch", trained_names)
        ours = _later(recipe, dataset, jax_run, "jax", trained_names)
    normalizes = any(key.endswith("running_var") for key in before.tensors)
    options = recipe.optimizer.options | {"name": recipe.optimizer.name}
    allowed = tolerances(recipe.precision, batch_norm=normalizes, optimizer=options).trajectory
    return (*moved, *_compared(theirs, ours, f"{_STEPS} steps later", allowed))


def _ignore(_: str) -> None:
    pass


def _train(recipe: Recipe, dataset: Dataset, run: RunDir, framework: Framework, *, until: int) -> None:
    """Goes on with ``run``, or begins it, until so many steps are done."""
    import torchref.loop
    from jaxnn import loop

    resume = run.exists()
    seen = _STEPS if resume else 0

    def progress(**_: Any) -> None:
        nonlocal seen
        seen += 1

    def should_stop() -> bool:
        return until < 2 * _STEPS and seen >= until

    try:
        if framework == "jax":
            hooks = loop.Hooks(progress=progress, should_stop=should_stop)
            loop.train(recipe, dataset, run, resume=resume, hooks=hooks)
        else:
            torchref.loop.train(recipe, dataset, run, resume=resume, on_progress=progress, should_stop=should_stop)
    except Interrupted as stopped:
        assert stopped.step == until


def _given(recipe: Recipe, run: RunDir, framework: Framework) -> import_run.Given:
    """What `jaxnn export` writes of a run, for `jaxnn import`."""
    arrays, training = export_run.from_run(run, recipe, framework, _ignore)
    return import_run.Given(dict(arrays), str(run.path), training, str(run.path))


def _later(recipe: Recipe, dataset: Dataset, run: RunDir, framework: Framework, trained: set[str]) -> _Held:
    """Where the rest of the steps has taken ``run``."""
    _train(recipe, dataset, run, framework, until=2 * _STEPS)
    loss = {"loss of the last epoch": {"": np.array(run.read_metrics()[-1]["train_loss"])}}
    return _held(_given(recipe, run, framework), trained)._replace(others=loss)


def _held(given: import_run.Given, trained: set[str]) -> _Held:
    training = given.training or {}
    names = [key for key in given.arrays if key in trained]  # PyTorch's optimizers number them so
    slots = {
        (names[number], slot): value.numpy()
        for number, held in training["state"].items()
        for slot, value in held.items()
        if value is not None
    }
    others = {
        "options of the optimizer": training["param_groups"],
        "schedule": training.get("scheduler", {}),
        "place in the data": {name: training["position"].get(name) for name in _POSITION},
    }
    return _Held(given.arrays, slots, {name: dict(_numbers(value)) for name, value in others.items()})


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every number and tensor in nested dicts and lists, by its path; None as NaN."""
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _numbers(item, f"{path} {key}".strip())
    elif not isinstance(value, str):
        yield path, np.asarray(np.nan if value is None else value)


def _in_jax(recipe: Recipe, run: RunDir, port: Port, like: _Held) -> _Held:
    """The newest checkpoint of a run of JAX, its slots "step" for those parameters for which ``like`` has them."""
    with precisions.activate(recipe.precision) as dtypes:
        structure = trained.structure(trained.describe(run, recipe), dtypes.param)
        with Checkpoints(run.checkpoints) as checkpoints:
            saved = checkpoints.newest(_ignore, tuple(structure.state))
        assert saved is not None
        _, params, buffers, optimizer = saved.state
        state = State(*optimizer)
        slots = {
            (key, slot): np.asarray(value)
            for slot, tree in state.slots.items()
            for key, value in port.slot_in_torch(tree).items()
        }
        slots |= {(key, slot): np.asarray(state.count) for key, slot in like.slots if slot == "step"}
        return _Held({key: np.asarray(value) for key, value in port.in_torch(params, buffers).items()}, slots, {})


def _compared(expected: _Held, found: _Held, when: str, tolerance: float) -> Iterator[Entry]:
    def entry(name: str, what: str, error: float, note: str = "") -> Entry:
        return Entry(
            level="state", torch_name=name, nnx_path="", what=what, error=error, tolerance=tolerance, note=note
        )

    for key, value in expected.tensors.items():
        yield entry(key, when, _error(found.tensors.get(key), value))
    for key in expected.slots | found.slots:
        yield entry(key[0], f"{key[1]} {when}", _error(found.slots.get(key), expected.slots.get(key)))
    for name, values in expected.others.items():
        theirs = found.others.get(name, {})
        errors = {key: _error(theirs.get(key), values.get(key)) for key in values | theirs}
        if errors:
            worst = max(errors, key=lambda key: errors[key])
            yield entry(name, when, errors[worst], worst if errors[worst] > tolerance else "")


def _error(ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    return np.inf if ours is None or theirs is None else error(ours, theirs)
