"""Checkpoints of a JAX run: parameters, buffers, optimizer state and the position in the data (orbax)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxnn.errors import UserError

_KEPT = 2


class Saved(NamedTuple):
    """A checkpoint: ``record`` is what the epoch had measured by then, None if that is not known."""

    step: int
    state: Any
    record: Any
    position: dict[str, Any]


class Checkpoints:
    """The checkpoints in ``folder``, newest ``_KEPT`` kept; each appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        absl.logging.set_verbosity(absl.logging.FATAL)  # orbax reports every save, and errors twice
        self.folder = folder
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, enable_async_checkpointing=False, create=False)
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    @property
    def steps(self) -> list[int]:
        """The steps saved, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, record: Any, position: dict[str, Any]) -> None:
        """Saves the state after ``step`` steps, what the epoch has measured so far, and what is not arrays (JSON).

        ``record`` None: nothing is known of the epoch.
        """
        items = {
            "state": ocp.args.StandardSave(jax.tree.map(np.asarray, state)),
            "position": ocp.args.JsonSave(position),
        }
        if record is not None:
            items["record"] = ocp.args.StandardSave(jax.tree.map(np.asarray, record))
        try:
            self._manager.save(step, args=ocp.args.Composite(**items), force=True)
        except Exception as error:  # orbax and tensorstore raise many kinds for a full disk
            raise UserError(f"the checkpoint {self.folder / str(step)} cannot be written; is the disk full?") from error

    def restore(self, step: int, state: Any, record: Any = None) -> Saved:
        """The checkpoint of a step, in the structures, shapes and dtypes of ``state`` and ``record``.

        ``state`` None: nested dicts and lists, as it was saved; ``record`` None: leaves it out. Raises UserError if the
        checkpoint is damaged or belongs to another model.
        """
        items = {"state": ocp.args.StandardRestore(_like(state)), "position": ocp.args.JsonRestore()}
        if record is not None and (self.folder / str(step) / "record").is_dir():
            items["record"] = ocp.args.StandardRestore(_like(record))
        try:
            restored: Any = self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
            raise UserError(f"the checkpoint {self.folder / str(step)} is damaged, or of another model") from error
        return Saved(step, restored["state"], restored.get("record"), restored["position"])

    def newest(self, notice: Callable[[str], None], state: Any, record: Any = None) -> Saved | None:
        """The newest checkpoint that ``restore`` can read; None if there is none at all.

        Raises UserError if there are checkpoints and none can be read.
        """
        for step in reversed(self.steps):
            try:
                return self.restore(step, state, record)
            except UserError as error:
                notice(f"{error}; going back to the one before it")
        if self.steps:
            raise UserError(f"no checkpoint in {self.folder} can be read; train anew with --overwrite")
        return None

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, which are damaged."""
        for later in self.steps:
            if later > step:
                shutil.rmtree(self.folder / str(later))
        self._manager.reload()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()


def _like(tree: Any) -> Any:
    return None if tree is None else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)
