"""Checkpoints of a JAX run: parameters, buffers, optimizer state and the position in the data (orbax).

CHECKPOINTS/STEP/                   after so many steps
CHECKPOINTS/STEP/checkpoint.json    the test accuracy, if it was known, and the SHA-256 of every other file
CHECKPOINTS/.STEP/                  being written, or cut off; renamed when it is whole
CHECKPOINTS/.STEP.removed/          being removed
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxnn import checkpoint_choice, quiet_orbax
from jaxnn.checkpoint_choice import Choice
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.errors import UserError
from jaxnn.run_dir import RunDir, sync_folder, write_atomically


class Saved(NamedTuple):
    """A checkpoint: ``record`` is what the epoch had measured by then, None if that is not known."""

    step: int
    state: Any
    record: Any
    position: dict[str, Any]
    test_accuracy: float | None = None

    def copy(self) -> "Saved":
        """On the host, and the caller's alone: what NumPy shows of a JAX array may be its own memory."""
        state, record = (jax.tree.map(lambda leaf: np.array(leaf, copy=True), x) for x in (self.state, self.record))
        return self._replace(state=state, record=record)


class Checkpoints:
    """The checkpoints in ``folder``: the one with the highest test accuracy, and the newest ``keep`` of the others.

    Each appears whole or not at all, and what has been changed or cut since is found by its checksum.
    """

    def __init__(self, folder: Path, *, keep: int = CheckpointPolicy.keep) -> None:
        quiet_orbax.silence()
        self.folder, self._keep = folder, keep
        self._orbax = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        self._pending: Future[None] | None = None

    @property
    def steps(self) -> list[int]:
        """The steps saved, ascending."""
        self.wait()
        return self._steps()

    @property
    def best(self) -> int | None:
        """The step with the highest test accuracy, the first of equal ones; None if no accuracy is known."""
        self.wait()
        return self._best()

    def save(self, saved: Saved) -> None:
        """Copies ``saved`` and writes it while the caller goes on; waits for the write before, if that is under way.

        Raises UserError if the write before failed.
        """
        self.wait()
        self._pending = quiet_orbax.submit(self._write, saved.copy())

    def wait(self) -> None:
        """Until nothing is being written. Raises UserError if it could not be."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def restore(self, step: int, state: Any, record: Any = None) -> Saved:
        """The checkpoint of a step, in the structures, shapes and dtypes of ``state`` and ``record``.

        ``state`` None: nested dicts and lists, as it was saved; ``record`` None: leaves it out. Raises UserError if the
        checkpoint is damaged or belongs to another model.
        """
        self.wait()
        path = self.folder / str(step)
        facts = _verified(path)
        items = {"state": ocp.args.StandardRestore(_like(state)), "position": ocp.args.JsonRestore()}
        if record is not None and (path / "record").is_dir():
            items["record"] = ocp.args.StandardRestore(_like(record))
        try:
            restore = quiet_orbax.submit(self._orbax.restore, path.resolve(), args=ocp.args.Composite(**items))
            restored = restore.result()
        except Exception as error:  # orbax and tensorstore raise many kinds
            raise UserError(f"the checkpoint {path} is of another model or cannot be read") from error
        position = restored["position"]
        return Saved(step, restored["state"], restored.get("record"), position, facts["test_accuracy"])

    def find(self, choice: Choice, notice: Callable[[str], None], state: Any, record: Any = None) -> Saved | None:
        """The checkpoint chosen, as ``restore`` reads it; None if there is none at all.

        The newest is that which can be read. Raises UserError if it is not there or cannot be read.
        """
        return checkpoint_choice.find(
            choice,
            self.folder,
            steps=lambda: self.steps,
            best=lambda: self.best,
            read=lambda step: self.restore(step, state, record),
            notice=notice,
        )

    def newest(self, notice: Callable[[str], None], state: Any, record: Any = None) -> Saved | None:
        """The newest checkpoint that ``restore`` can read; None if there is none at all.

        Raises UserError if there are checkpoints and none can be read.
        """
        return self.find("newest", notice, state, record)

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, which are damaged or no longer to come."""
        for later in self.steps:
            if later > step:
                self._remove(later)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._orbax.close()

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal() and path.is_dir())

    def _remove(self, step: int) -> None:
        """At once for whoever reads it, as they were written."""
        hidden = self.folder / f".{step}.removed"
        os.replace(self.folder / str(step), hidden)
        shutil.rmtree(hidden)

    def _best(self) -> int | None:
        known = {step: _facts(self.folder / str(step)).get("test_accuracy") for step in self._steps()}
        scores = {step: score for step, score in known.items() if score is not None}
        return max(scores, key=lambda step: (scores[step], -step)) if scores else None

    def _write(self, saved: Saved) -> None:
        final, temporary = self.folder / str(saved.step), self.folder / f".{saved.step}"
        items = {"state": ocp.args.StandardSave(saved.state), "position": ocp.args.JsonSave(saved.position)}
        if saved.record is not None:
            items["record"] = ocp.args.StandardSave(saved.record)
        try:
            self.folder.mkdir(exist_ok=True)  # but not its parents: a run that was removed stays so
            self._remove_hidden()
            self._orbax.save(temporary.resolve(), args=ocp.args.Composite(**items))
            facts = {"test_accuracy": saved.test_accuracy, "sha256": _checksums(temporary)}
            write_atomically(temporary / "checkpoint.json", json.dumps(facts))
            os.replace(temporary, final)
            sync_folder(self.folder)
            best = self._best()
            others = [step for step in self._steps() if step != best]
            for step in others[: -self._keep]:
                self._remove(step)
        except Exception as error:  # orbax and tensorstore raise many kinds
            for _ in range(5):  # what is still being written comes back
                self._remove_hidden()
                time.sleep(0.02)
            raise RunDir(self.folder.parent).unwritable(final, quiet_orbax.reason(error)) from error

    def _remove_hidden(self) -> None:
        for cut_off in self.folder.glob(".*"):
            shutil.rmtree(cut_off, ignore_errors=True)


def _facts(path: Path) -> dict[str, Any]:
    """What checkpoint.json says; nothing if it is gone or damaged."""
    try:
        facts = json.loads((path / "checkpoint.json").read_bytes())
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}


def _verified(path: Path) -> dict[str, Any]:
    """What checkpoint.json says. Raises UserError if the files are not those that were written."""
    facts = _facts(path)
    try:
        changed = facts.get("sha256") != _checksums(path)
    except OSError:
        changed = True
    if changed:
        raise UserError(f"the checkpoint {path} is damaged: its files are not those that were written")
    return facts


def _checksums(path: Path) -> dict[str, str]:
    sums = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "checkpoint.json":
            with open(file, "rb") as opened:
                sums[str(file.relative_to(path))] = hashlib.file_digest(opened, "sha256").hexdigest()
    return sums


def _like(tree: Any) -> Any:
    return None if tree is None else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)
