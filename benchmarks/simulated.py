"""A recipe's training step on simulated devices: what each of several meshes compiles to, and how long it takes.

They share this machine's cores, so that their times say nothing of real devices. FLOPs and bytes are
as on real ones.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jaxnn.recipe import Recipe

from . import collectives

_BATCHES = 2  # in the data
_CLASSES = 1000  # of a recipe without data of its own, as torchvision's networks have


def classes_of(recipe: Recipe) -> int:
    return 10 if recipe.dataset else _CLASSES


def devices(count: int) -> ProcessPoolExecutor:
    """A process of its own, for JAX's devices are chosen when it starts."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _simulate, (count,))


def _simulate(count: int) -> None:
    os.environ |= {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # compile times are those of a first run
    }


class _Compiled(NamedTuple):
    step: Callable[[Any, Any], tuple[Any, Any]]
    start: tuple[Any, Any]


def measure(recipe: Recipe, meshes: tuple[str, ...], *, repeats: int) -> list[dict[str, Any]]:
    """A row for each of ``meshes``, to be called in a process of ``devices``; "data=1" is the program of one device.

    The steps of all meshes take turns, ``repeats`` times (0: none is taken); the first turn is not looked at.
    """
    rows, compiled = [], []
    for mesh in meshes:
        row, program = _compile(recipe, mesh)
        rows.append(row)
        compiled.append(program)
    seconds = np.zeros((repeats + 1, len(meshes)))
    states = [each.start for each in compiled]
    for turn in range(repeats + 1 if repeats else 0):
        for number, each in enumerate(compiled):
            seconds[turn, number], states[number] = _timed(each.step, *states[number])
    for row, of_row in zip(rows, seconds[1:].T, strict=True):
        row |= {"step_seconds": float(np.median(of_row)) if repeats else None, "load": round(os.getloadavg()[0], 1)}
    return rows


def _compile(recipe: Recipe, mesh: str) -> tuple[dict[str, Any], _Compiled]:
    import jax

    from jaxnn import device_mesh, experiment
    from jaxnn.mesh_shape import MeshShape
    from jaxnn.precision import DTYPES

    from .cases import dataset_of

    classes = classes_of(recipe)
    dataset = dataset_of(recipe, train=_BATCHES * (recipe.batch_size or 1), test=classes, classes=classes)
    shape = MeshShape.parse(mesh)
    on = device_mesh.build(shape if shape.devices > 1 else None)
    ready, state = experiment.build(recipe, dataset, DTYPES[recipe.precision], devices=on)
    part = ready.epoch_parts(1)[0][0]
    record = experiment.empty_record(len(part.examples), ready.dtypes)
    split = next(ready.train.each_step(part.examples[:1]))
    train_step: Any = ready.program.train_step
    lowered = train_step.lower(state, record, split, part.segment, 0)
    seconds, program = _timed(lowered.compile)
    moved = collectives.read(program.as_text())
    row = {
        "recipe": recipe.name,
        "mesh": mesh,
        "precision": recipe.precision,
        "batch_norm": recipe.batch_norm,
        "batch_size": part.examples.shape[1],
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "compile_seconds": seconds,
        "flops": program.cost_analysis().get("flops"),  # of one device
        "sent": sum(each.sent for each in moved),
        "collectives": collectives.summary(moved),
    }
    return row, _Compiled(lambda state, record: program(state, record, split, part.segment, 0), (state, record))


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    import jax

    began = time.perf_counter()
    value = call(*arguments)
    jax.block_until_ready(value)
    return time.perf_counter() - began, value
