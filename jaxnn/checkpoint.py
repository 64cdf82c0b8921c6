"""Checkpoints of a JAX run: parameters, buffers, optimizer state and the position in the data (orbax).

CHECKPOINTS/STEP/                   after so many steps
CHECKPOINTS/STEP/checkpoint.json    the test accuracy, if it was known, and the SHA-256 of every other file
CHECKPOINTS/.STEP/                  being written, or cut off; renamed when it is whole
CHECKPOINTS/.STEP.removed/          being removed
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pydantic

from jaxnn import checkpoint_choice, hosts, limits, quiet_orbax
from jaxnn.checkpoint_choice import Choice
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.errors import UserError
from jaxnn.files import sync_folder, write_atomically
from jaxnn.run_dir import RunDir


@dataclass(frozen=True)
class _Facts:
    test_accuracy: pydantic.FiniteFloat | None
    sha256: dict[str, str]


_FACTS = pydantic.TypeAdapter(_Facts)


def saved_steps(folder: Path) -> list[int]:
    """The steps after which there is a checkpoint in ``folder``, readable or not, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


class Saved(NamedTuple):
    """A checkpoint: ``record`` is what the epoch had measured by then, None if that is not known."""

    step: int
    state: Any
    record: Any
    position: dict[str, Any]
    test_accuracy: float | None = None

    def copy(self) -> "Saved":
        """On the host, and the caller's alone: what NumPy shows of a JAX array may be its own memory.

        Arrays of which other processes have parts stay as they are.
        """
        state, record = jax.tree.map(_copied, (self.state, self.record))
        return self._replace(state=state, record=record)


class Checkpoints:
    """The checkpoints in ``folder``: the one with the highest test accuracy, and the newest ``keep`` of the others.

    Each appears whole or not at all, and what has been changed or cut since is found by its checksum. Of several
    processes all call the same methods; each writes its part, and the first one all else.
    """

    def __init__(self, folder: Path, *, keep: int = CheckpointPolicy.keep) -> None:
        quiet_orbax.silence()
        self.folder, self._keep = folder, keep
        self._orbax = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        self._arrays: Any = ocp.StandardCheckpointHandler()
        self._pending: Future[None] | None = None

    @property
    def steps(self) -> list[int]:
        """The steps saved, ascending."""
        self.wait()
        return saved_steps(self.folder)

    @property
    def best(self) -> int | None:
        """The step with the highest test accuracy, the first of equal ones; None if no accuracy is known."""
        self.wait()
        return self._best()

    def save(self, saved: Saved) -> None:
        """Copies ``saved`` and writes it while the caller goes on; waits for the write before, if that is under way.

        Raises UserError if the write before failed. Several processes wait until all have written: orbax's barriers
        must not meet those of their next steps.
        """
        self.wait()
        self._pending = quiet_orbax.submit(self._write, saved.copy())
        if hosts.many():
            self.wait()
            hosts.wait(f"checkpoint {saved.step}")

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
        wanted = {"state": state}
        if record is not None and (path / "record").is_dir():
            wanted["record"] = record
        try:
            restored = quiet_orbax.submit(self._read, path.resolve(), wanted).result()
            found = Saved(step, restored["state"], restored.get("record"), restored["position"], facts.test_accuracy)
            _require_shapes(found.state, state)
            _require_shapes(found.record, record if found.record is not None else None)
        except Exception as error:  # orbax and tensorstore raise many kinds
            raise UserError(f"the checkpoint {path} is of another model or cannot be read") from error
        return found

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
            if later > step and hosts.is_first():
                self._remove(later)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._orbax.close()
            self._arrays.close()

    def _remove(self, step: int) -> None:
        """At once for whoever reads it, as they were written."""
        hidden = self.folder / f".{step}.removed"
        os.replace(self.folder / str(step), hidden)
        shutil.rmtree(hidden)

    def _best(self) -> int | None:
        known = {step: _facts(self.folder / str(step)) for step in saved_steps(self.folder)}
        scores = {
            step: facts.test_accuracy for step, facts in known.items() if facts and facts.test_accuracy is not None
        }
        return max(scores, key=lambda step: (scores[step], -step)) if scores else None

    def _read(self, path: Path, wanted: dict[str, Any]) -> Any:
        """Raises ValueError, before anything is allocated, for arrays larger than their files can hold."""
        most = limits.unpacked(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
        items: dict[str, Any] = {"position": ocp.args.JsonRestore()}
        for name, tree in wanted.items():
            described = self._arrays.metadata(path / name)
            _require_small(described, most)
            # On the host, whatever devices they were saved from: those may not be here.
            items[name] = ocp.args.StandardRestore(_like(described.tree if tree is None else tree))
        return self._orbax.restore(path, args=ocp.args.Composite(**items))

    def _write(self, saved: Saved) -> None:
        final, temporary = self.folder / str(saved.step), self.folder / f".{saved.step}"
        items = {"state": ocp.args.StandardSave(saved.state), "position": ocp.args.JsonSave(saved.position)}
        if saved.record is not None:
            items["record"] = ocp.args.StandardSave(saved.record)
        RunDir(self.folder.parent).require_own()
        try:
            if hosts.is_first():
                self.folder.mkdir(exist_ok=True)  # but not its parents: a run that was removed stays so
                self._remove_hidden()
            self._orbax.save(temporary.resolve(), args=ocp.args.Composite(**items))
            if not hosts.is_first():
                return
            facts = {"test_accuracy": saved.test_accuracy, "sha256": _checksums(temporary)}
            write_atomically(temporary / "checkpoint.json", json.dumps(facts))
            os.replace(temporary, final)
            sync_folder(self.folder)
            best = self._best()
            others = [step for step in saved_steps(self.folder) if step != best]
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


def _copied(leaf: Any) -> Any:
    shared = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    return leaf if shared else np.array(leaf, copy=True)


def _facts(path: Path) -> _Facts | None:
    """What checkpoint.json says; None if it is gone or damaged."""
    try:
        return _FACTS.validate_json((path / "checkpoint.json").read_bytes(), strict=True)
    except (OSError, ValueError):
        return None


def _verified(path: Path) -> _Facts:
    """What checkpoint.json says. Raises UserError if the files are not those that were written."""
    facts = _facts(path)
    try:
        if facts is not None and facts.sha256 == _checksums(path):
            return facts
    except OSError:
        pass
    raise UserError(f"the checkpoint {path} is damaged: its files are not those that were written")


def _checksums(path: Path) -> dict[str, str]:
    sums = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "checkpoint.json":
            with open(file, "rb") as opened:
                sums[str(file.relative_to(path))] = hashlib.file_digest(opened, "sha256").hexdigest()
    return sums


def _like(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)


def _require_small(described: Any, most: int) -> None:
    """Raises ValueError if the arrays that orbax describes, or their chunks, have over ``most`` bytes."""
    total = 0
    for leaf in jax.tree.leaves(described.tree):
        chunk = leaf.storage.chunk_shape if leaf.storage is not None else ()
        total += max(math.prod(leaf.shape), math.prod(chunk or ())) * np.dtype(leaf.dtype).itemsize
    if total > most:
        raise ValueError(f"{total} bytes cannot be in its files")


def _require_shapes(found: Any, wanted: Any) -> None:
    """Raises ValueError for other arrays than ``wanted``; None is known only when they are used."""
    if wanted is None:
        plain = all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(found))
    else:
        plain = jax.tree.map(np.shape, found) == jax.tree.map(np.shape, wanted)
    if not plain:
        raise ValueError("it holds other arrays")
