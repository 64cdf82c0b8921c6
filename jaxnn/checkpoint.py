"""Checkpoints of a JAX run: parameters, buffers, optimizer state and the position in the data (orbax)."""

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxnn.errors import UserError

logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every save

_KEPT = 2


class Checkpoints:
    """The checkpoints in ``folder``, newest ``_KEPT`` kept; each appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
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
        self._manager.save(step, args=arguments, force=True)

    def read(self, step: int) -> tuple[Any, dict[str, Any]]:
        """The arrays as nested dicts and lists of NumPy arrays, and the position."""
        arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(), position=ocp.args.JsonRestore())
        restored: Any = self._manager.restore(step, args=arguments)
        return restored["arrays"], restored["position"]

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The arrays, in the structure, shapes and dtypes of ``like``, and the position.

        Raises UserError if the checkpoint is damaged or belongs to another model.
        """
        target = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf), leaf.dtype), like)
        arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(target), position=ocp.args.JsonRestore())
        try:
            restored: Any = self._manager.restore(step, args=arguments)
        except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
            raise UserError(
                f"the checkpoint {self.folder / str(step)} cannot be read: {str(error).splitlines()[0]}"
            ) from error
        return restored["arrays"], restored["position"]

    def delete(self, step: int) -> None:
        """Removes a checkpoint, even one that is damaged."""
        shutil.rmtree(self.folder / str(step))
        self._manager.reload()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()
