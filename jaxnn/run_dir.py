"""The run directory: owns every path and file format of a run.

    RUN/recipe.json        the resolved recipe and the framework that trains it
    RUN/environment.json   versions, devices, precision flags, where the data was found
    RUN/metrics.jsonl      one object per epoch
    RUN/nonfinite.npz      the batch that spoiled the weights, if one did
    RUN/checkpoints/       written by jaxnn.checkpoint or torchref.checkpoint
    RUN/tensorboard/       written by jaxnn.cli.event_log, if asked for
    RUN/.lock              held by the process that trains

Every file appears whole or not at all (jaxnn.files).
"""

import contextlib
import datetime
import errno
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import filelock
from pydantic_core import from_json

from jaxnn import environment_file, metrics_rows
from jaxnn.environment_file import TrainedOn
from jaxnn.errors import Interrupted as Interrupted
from jaxnn.errors import NonFiniteLossError as NonFiniteLossError
from jaxnn.errors import UserError
from jaxnn.files import require_writable, sync, write_atomically
from jaxnn.mesh_shape import MeshShape
from jaxnn.recipe import Recipe

Framework = Literal["jax", "torch"]


class _Data(Protocol):
    """jaxnn.data.Dataset"""

    def require_same(self, fingerprint: str, run: object) -> None: ...


_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what flock says where there are none

_held: dict[Path, tuple[int, int] | None] = {}  # the runs that this process has locked, and which file that is


def _file_of(path: Path) -> tuple[int, int] | None:
    """Device and inode: those of a file that is open are not given to another."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


@dataclass(frozen=True)
class RunDir:
    path: Path

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def nonfinite_file(self) -> Path:
        return self.path / "nonfinite.npz"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def exists(self) -> bool:
        return self.recipe_file.is_file()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, no other process trains here; a lock ends with its process, however that ends.

        Raises UserError if another has it, or if the file system has no such locks.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # A soft lock, filelock's way out, would outlive a killed process.
        lock = filelock.FileLock(self.path / ".lock", blocking=False, fallback_to_soft=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"another process is training in {self.path}; wait for it or stop it, or name another --out"
            ) from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            raise UserError(f"the file system of {self.path} has no locks; name an --out on another one") from error
        _held[self.path] = _file_of(self.path / ".lock")
        try:
            yield
        finally:
            del _held[self.path]
            lock.release()

    def require_own(self) -> None:
        """Raises UserError if the run has been removed and another started here since this process locked it."""
        if self.path in _held and _file_of(self.path / ".lock") not in (None, _held[self.path]):
            raise self._removed()

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """Inside, ``path`` of this run is written. Raises UserError, which says how to go on, where that fails."""
        self.require_own()
        try:
            yield
        except OSError as error:
            raise self.unwritable(path, error.strerror or str(error)) from error

    def unwritable(self, path: Path, why: str) -> UserError:
        """The error of a ``path`` of this run that cannot be written, for the reason ``why``."""
        if not self.path.is_dir():
            return self._removed()
        after = f"; after that is mended, `jaxnn train --resume --out {self.path}` goes on" if self.exists() else ""
        return UserError(f"{path} cannot be written: {why}{after}")

    def _removed(self) -> UserError:
        return UserError(f"{self.path} has been removed while it was trained; start it anew")

    def create(self, recipe: Recipe, framework: Framework) -> None:
        """Starts a run here: replaces an old one, and nothing that the user may have put beside it."""
        with self.writing(self.path):
            for file in (self.recipe_file, self.metrics_file, self.environment_file, self.nonfinite_file):
                file.unlink(missing_ok=True)
            for folder in (self.checkpoints, self.tensorboard):
                shutil.rmtree(folder, ignore_errors=True)
            self.checkpoints.mkdir(parents=True)
        self.write_recipe(recipe, framework)

    def write_recipe(self, recipe: Recipe, framework: Framework) -> None:
        document = {"framework": framework} | json.loads(recipe.to_json())
        with self.writing(self.recipe_file):
            write_atomically(self.recipe_file, json.dumps(document, indent=2) + "\n")

    def read_recipe(self) -> tuple[Recipe, Framework]:
        """The run's recipe and framework. Raises UserError if there is no run, or a damaged one."""
        if not self.exists():
            raise UserError(f"{self.path} is not a run directory: it has no recipe.json")
        try:
            document = from_json(self.recipe_file.read_bytes())
            framework = document.pop("framework")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{self.recipe_file} is damaged: it is not the JSON that `jaxnn train` writes") from error
        if framework not in ("jax", "torch"):
            raise UserError(f"{self.recipe_file}: framework must be 'jax' or 'torch', but it is {framework!r}")
        return Recipe.from_json(json.dumps(document), where=str(self.recipe_file)), framework

    def write_environment(self, environment: dict[str, Any]) -> None:
        shared = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with self.writing(self.environment_file):
            write_atomically(self.environment_file, json.dumps(shared | environment, indent=2) + "\n")

    def read_environment(self) -> dict[str, Any]:
        """What ``write_environment`` wrote, "data" only if it can be relied on; empty if it is gone or unreadable."""
        return environment_file.read(self.environment_file)

    def trained_on(self) -> TrainedOn:
        """The data on which the run began, without them. Raises UserError if the record is gone or unreadable."""
        found = environment_file.trained_on(self.read_environment())
        if found is None:
            raise UserError(f"{self.environment_file} does not say what the run was trained on; train it anew")
        return found

    def data_fingerprint(self) -> str | None:
        """That of the data on which the run began; None if the record is gone or unreadable."""
        return self.read_environment().get("data", {}).get("fingerprint")

    def memory_limit(self) -> int | None:
        """The bytes above which the run began to stream a split; None: the default, or not known."""
        return environment_file.memory_limit(self.read_environment())

    def mesh(self) -> MeshShape | None:
        """The devices of one process on which the run began; None: one, those of several processes, or not known."""
        return environment_file.mesh(self.read_environment())

    def trained_together(self) -> int:
        """The number of runs in the program that began to train this one; 1 if that is not known."""
        return environment_file.trained_together(self.read_environment())

    def require_shares(self, devices: int) -> None:
        """Raises UserError if the run began on another number of devices: BatchNorm would normalize other shares."""
        before = environment_file.devices(self.read_environment())
        if before != devices:
            raise UserError(
                f"--resume: with --batch-norm local {self.path} goes on with {before} devices, as it began, and not "
                f"with {devices}; see --mesh"
            )

    def require_data(self, dataset: "_Data") -> None:
        """Raises UserError if the run began on other data: what would follow would be neither run."""
        began = self.data_fingerprint()
        if began is not None:
            dataset.require_same(began, self.path)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replaces all rows."""
        with self.writing(self.metrics_file):
            write_atomically(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a row. A crash can cut its line short; ``read_metrics`` drops a line without an end."""
        with self.writing(self.metrics_file), open(self.metrics_file, "a") as file:
            file.write(json.dumps(row) + "\n")

    def flush_metrics(self) -> None:
        """Brings the rows to the disk: those before a checkpoint have to be there when it is.

        Raises UserError if the run has been removed: a checkpoint alone cannot be continued.
        """
        if not self.exists():
            raise self._removed()
        self.require_own()
        if self.metrics_file.exists():
            with self.writing(self.metrics_file):
                sync(self.metrics_file)

    def read_metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch, in order. Raises UserError that names the damaged line."""
        return metrics_rows.read(self.metrics_file)


def at(path: Path, *, resume: bool, overwrite: bool) -> RunDir:
    """The run directory ``path``, once it is known that a run can be written there; changes nothing.

    Raises UserError for a run that exists (without ``resume`` or ``overwrite``), for a folder of
    other files, and for a place that cannot be written.
    """
    run = RunDir(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path} is a file; name a folder")
    occupied = path.is_dir() and any(not each.name.startswith(".") for each in path.iterdir())
    if occupied and not (run.exists() or run.checkpoints.is_dir()):
        raise UserError(f"--out {path} holds other files and no run; name a new or an empty folder")
    if occupied and not (resume or overwrite):
        raise UserError(f"--out {path} already holds a run; add --resume to continue it or --overwrite to replace it")
    require_writable(path)
    return run
