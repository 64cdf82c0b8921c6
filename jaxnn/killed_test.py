"""Runs killed with SIGKILL at random moments, as often while a checkpoint is written, and resumed to the same bits."""

import logging
import multiprocessing
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pytest

from jaxnn import data, loop, recipes
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.loop_test import assert_same
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from jaxnn.together import Job

# Children of a process that has imported JAX and not started it: each is training after a second.
_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload([__name__])
_EVERY = CheckpointPolicy(seconds=0.2)


class Variant(NamedTuple):
    recipe: Recipe
    seeds: int = 1
    memory_limit: int | None = None


def _digits(name: str, **changes: Any) -> Recipe:
    return recipes.get(name, dataset="digits").replace(**{"log_every": None} | changes)


VARIANTS = {
    "compiled epochs, dropout": Variant(_digits("mnist-mlp", epochs=40, **{"model.dropout": 0.3})),
    "single steps, batch norm": Variant(
        _digits(
            "fashion-mlp-bn",
            dispatch="step",
            epochs=150,
            **{"optimizer.learning_rate": 0.02, "optimizer.momentum": 0.9, "schedule.name": "cosine"},
        )
    ),
    "streamed": Variant(_digits("mnist-mlp", epochs=8, **{"augment.crop": 2}), memory_limit=0),
    "two seeds together": Variant(_digits("mnist-mlp", epochs=20, **{"schedule.name": "plateau"}), seeds=2),
}


def _jobs(variant: Variant, folder: Path) -> list[Job]:
    dataset = data.prepare(data.load("digits"), variant.recipe.input)
    return [
        Job(variant.recipe.replace(seed=seed), dataset, RunDir(folder / str(seed))) for seed in range(variant.seeds)
    ]


def _train(name: str, folder: Path, cache: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

    def notice(text: str) -> None:
        assert "finished already" in text, text  # nothing of a damaged checkpoint

    variant = VARIANTS[name]
    outcomes = loop.train_together(
        _jobs(variant, folder),
        resume=True,
        policy=_EVERY,
        memory_limit=variant.memory_limit,
        hooks=loop.Hooks(notice=notice),
    )
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)


def _newest_step(folder: Path) -> int:
    return max((int(path.name) for path in folder.glob("*/checkpoints/*") if path.name.isdecimal()), default=0)


def _survives(name: str, tmp_path: Path, *, kills: int, seed: int) -> list[int]:
    """The steps from which the run was taken up after each of ``kills``; fails if the end is not that of no kill."""
    chance = random.Random(seed)

    def started(folder: Path) -> Any:
        child = _CHILDREN.Process(target=_train, args=(name, folder, tmp_path / "cache"))
        child.start()
        return child

    def ended(child: Any) -> None:
        child.join()
        assert child.exitcode == 0

    began = time.monotonic()
    ended(started(tmp_path / "whole"))
    duration = time.monotonic() - began
    taken_up: list[int] = []
    for number in range(1_000):
        folder = tmp_path / f"killed-{number}"
        while len(taken_up) < kills:
            child, began = started(folder), time.monotonic()
            child.join(chance.uniform(0, duration))
            if chance.random() < 0.5:  # while something is written
                while child.is_alive() and not list(folder.glob("*/checkpoints/.*")):
                    time.sleep(0.001)
                child.join(chance.uniform(0, 0.02))
            if child.exitcode is not None:
                ended(child)
                duration = min(duration, time.monotonic() - began)  # the first one had to compile
                break
            child.kill()
            child.join()
            taken_up.append(_newest_step(folder))
        else:
            ended(started(folder))
        for whole, killed in zip(
            *(_jobs(VARIANTS[name], tmp_path / each) for each in ("whole", folder.name)), strict=True
        ):
            assert_same(whole.run, killed.run)
        if len(taken_up) == kills:
            return taken_up
    raise AssertionError("the runs ended before they could be killed")


@pytest.mark.parametrize("name", ["two seeds together"])
def test_killed_and_resumed_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    _survives(name, tmp_path, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_hundred_kills(name: str, tmp_path: Path) -> None:
    taken_up = _survives(name, tmp_path, kills=25, seed=1)
    past_the_start = sum(step > 0 for step in taken_up)
    resumed = f"{past_the_start} of {len(taken_up)} resumes past step 0, from steps {sorted(taken_up)}"
    logging.getLogger(__name__).info("%s: %s", name, resumed)  # shown by --log-cli-level=INFO
    assert past_the_start >= len(taken_up) / 2
