"""Files of a run appear whole or not at all, and damaged ones are named."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxnn import data, recipes
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.errors import UserError
from jaxnn.files import write_atomically
from jaxnn.run_dir import RunDir, at

RECIPE = recipes.get("mnist-mlp")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create(RECIPE, "jax")
    return run


def test_recipe_and_metrics_come_back(run: RunDir) -> None:
    assert run.read_recipe() == (RECIPE, "jax")
    rows = [{"epoch": 1, "step": 6, "test_loss": 0.1 + 0.2}, {"epoch": 2, "step": 12, "test_loss": 1e-300}]
    for row in rows:
        run.append_metrics(row)
    assert run.read_metrics() == rows
    with open(run.metrics_file, "a") as file:
        file.write('{"epoch": 3, "te')  # a crash in the middle of a line
    assert [row["epoch"] for row in run.read_metrics()] == [1, 2]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"framework": "jax"}', '{"framework": "tf"}', "null", "\x00"])
def test_a_damaged_recipe_is_named(run: RunDir, content: str) -> None:
    run.recipe_file.write_text(content)
    with pytest.raises(UserError, match="recipe.json"):
        run.read_recipe()


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b"3", b'{"epoch": 1}', b'{"epoch": "1", "step": 1}', b"\xff\xfe"])
def test_a_damaged_row_is_named_by_its_line(run: RunDir, line: bytes) -> None:
    run.metrics_file.write_bytes(b'{"epoch": 1, "step": 6}\n' + line + b"\n")
    with pytest.raises(UserError, match="metrics.jsonl, line 2"):
        run.read_metrics()


@pytest.mark.parametrize("content", ["", "[]", '{"data": "x"}', '{"data": {}}', "\x00"])
def test_a_damaged_environment_knows_no_data(run: RunDir, content: str) -> None:
    run.environment_file.write_text(content)
    assert run.data_fingerprint() is None
    run.require_data(data.load("iris"))


def _replaced(run: RunDir) -> dict[Path, bytes]:
    """Removes ``run`` and has another process's take its place, whose files it returns."""
    other = RunDir(run.path.with_name("other"))
    other.create(RECIPE.replace(seed=7), "jax")
    (other.path / ".lock").touch()
    other.append_metrics({"epoch": 1, "step": 6})
    (other.checkpoints / ".6").mkdir()
    shutil.rmtree(run.path)
    other.path.rename(run.path)
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def _save(run: RunDir) -> None:
    with Checkpoints(run.checkpoints) as checkpoints:
        checkpoints.save(Saved(7, {"w": np.ones(3)}, None, {"epoch": 1}))


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.append_metrics({"epoch": 1, "step": 7}),
        lambda run: run.write_metrics([]),
        lambda run: run.flush_metrics(),
        lambda run: run.write_recipe(RECIPE, "jax"),
        _save,
    ],
    ids=["a row", "all rows", "rows to the disk", "recipe", "checkpoint"],
)
def test_nothing_is_written_to_a_run_that_took_the_place(run: RunDir, write: Callable[[RunDir], None]) -> None:
    with run.locked():
        write(run)
        there = _replaced(run)
        with pytest.raises(UserError, match="has been removed while it was trained"):
            write(run)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == there
    assert (run.checkpoints / ".6").is_dir()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "recipe.json"
    write_atomically(target, "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


def test_looking_changes_nothing(run: RunDir) -> None:
    before = sorted(run.path.rglob("*"))
    at(run.path, resume=False, overwrite=True)
    at(run.path, resume=True, overwrite=False)
    with pytest.raises(UserError, match="already holds a run"):
        at(run.path, resume=False, overwrite=False)
    assert sorted(run.path.rglob("*")) == before
    missing = run.path.parent / "a" / "b"
    assert at(missing, resume=True, overwrite=False) == RunDir(missing)
    assert not missing.parent.exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(run: RunDir, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match="has no locks"), run.locked():
        pytest.fail("trains without a lock")


@pytest.mark.parametrize(
    ("written", "memory_limit", "mesh"),
    [
        ({}, None, None),
        ({"memory_limit": None, "mesh": None}, None, None),
        ({"memory_limit": 0}, 0, None),
        ({"memory_limit": -1}, None, None),
        ({"memory_limit": "all", "mesh": [8]}, None, None),
        ({"mesh": {"data": 8, "model": 1}, "processes": 1}, None, "data=8"),
        ({"mesh": {"data": 4, "model": 2}, "processes": 1}, None, "data=4,model=2"),
        ({"mesh": {"data": 4, "model": 2}, "processes": 2}, None, None),
        ({"mesh": {"data": 0, "model": 2}, "processes": 1}, None, None),
        ({"mesh": {"data": 2}, "processes": 1}, None, None),
    ],
)
def test_the_program_in_which_a_run_began(
    run: RunDir, written: dict[str, object], memory_limit: int | None, mesh: str | None
) -> None:
    run.write_environment(written)
    assert run.memory_limit() == memory_limit
    assert (None if run.mesh() is None else str(run.mesh())) == mesh


@pytest.mark.parametrize(
    ("mesh", "devices", "goes_on"),
    [
        (None, 1, True),
        (None, 2, False),
        ({"data": 2}, 2, True),
        ({"data": 2, "model": 2}, 4, True),
        ({"data": 4}, 2, False),
    ],
)
def test_local_batch_norm_goes_on_with_as_many_devices(run: RunDir, mesh: object, devices: int, goes_on: bool) -> None:
    run.write_environment({"mesh": mesh})
    with contextlib.nullcontext() if goes_on else pytest.raises(UserError, match=f"and not with {devices}; see --mesh"):
        run.require_shares(devices)
