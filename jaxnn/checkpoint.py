"""Checkpoints of a JAX run: parameters, buffers, optimizer state and the position in the data (orbax)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxnn.errors import UserError

_KEPT = 2


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

    def save(self, step: int, arrays: Any, position: dict[str, Any]) -> None:
        """Saves a pytree of arrays and what is not arrays (JSON) after ``step`` steps."""
        arguments = ocp.args.Composite(
            arrays=ocp.args.StandardSave(jax.tree.map(np.asarray, arrays)), position=ocp.args.JsonSave(position)
        )
        try:
            self._manager.save(step, args=arguments, force=True)
        except Exception as error:  # orbax and tensorstore raise many kinds for a full disk
            raise UserError(f"the checkpoint {self.folder / str(step)} cannot be written; is the disk full?") from error

    def read(self, step: int) -> tuple[Any, dict[str, Any]]:
        """The arrays as nested dicts and lists of NumPy arrays, and the position."""
        arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(), position=ocp.args.JsonRestore())
        restored: Any = self._manager.restore(step, args=arguments)
        return restored["arrays"], restored["position"]

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The arrays, in the structure, shapes and dtypes of ``like`` (None: as ``read`` gives them), and the position.

        Raises UserError if the checkpoint is damaged or belongs to another model.
        """
        target = like and jax.tree.map(lambda leaf: np.zeros(np.shape(leaf), leaf.dtype), like)
        arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(target), position=ocp.args.JsonRestore())
        try:
            restored: Any = self._manager.restore(step, args=arguments)
        except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
            raise UserError(f"the checkpoint {self.folder / str(step)} is damaged, or of another model") from error
        return restored["arrays"], restored["position"]

    def newest(self, like: Any, notice: Callable[[str], None]) -> tuple[int, Any, dict[str, Any]] | None:
        """The step, arrays and position of the newest checkpoint that can be read; None if there is none at all.

        Raises UserError if there are checkpoints and none can be read.
        """
        for step in reversed(self.steps):
            try:
                return step, *self.restore(step, like)
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
