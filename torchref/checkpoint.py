"""Checkpoint files of a run: RUN/checkpoints/step-00000123.pt.

Each is a dict that torch.load(weights_only=True) reads, and whole: it replaces its name in one step. What is read is
known to be of the kinds that ``torchref.state.snapshot`` writes, whoever wrote it.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jaxnn import checkpoint_choice, limits
from jaxnn.checkpoint_choice import Choice
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import UserError
from jaxnn.files import write_atomically
from jaxnn.metrics_rows import as_rows
from jaxnn.run_dir import RunDir

_NAME = re.compile(r"step-(\d+)\.pt")
_LAST = 2**53  # epoch or step


def save(run: RunDir, state: dict[str, Any], *, keep: int = CheckpointPolicy.keep) -> None:
    """Writes the state and removes all files but the newest ``keep`` and the one with the highest test accuracy."""
    content = io.BytesIO()
    torch.save(state, content)
    path = _path(run, state["step"])
    with run.writing(path):
        for cut_off in run.checkpoints.glob(".step-*"):  # the process that wrote it was killed
            cut_off.unlink(missing_ok=True)
        write_atomically(path, content.getvalue())
        for step in _steps(run)[:-keep]:
            if step != best_step(state["rows"]):
                _path(run, step).unlink()


def load(run: RunDir, on_notice: Callable[[str], None], choice: Choice = "newest") -> dict[str, Any] | None:
    """The state chosen, on the CPU; None if the run has no checkpoint.

    The newest is that which can be read; says through ``on_notice`` which damaged files it passed over. Raises
    UserError if it is not there or damaged.
    """

    def best() -> int | None:
        newest = load(run, on_notice)
        rows, there = [] if newest is None else newest["rows"], _steps(run)
        return best_step([row for row in rows if row["step"] in there])

    return checkpoint_choice.find(
        choice,
        run.checkpoints,
        steps=lambda: _steps(run),
        best=best,
        read=lambda step: _read(_path(run, step)),
        notice=on_notice,
    )


def best_step(rows: list[dict[str, Any]]) -> int | None:
    """The step whose row has the highest test accuracy, the first of equal ones; None if there are no rows."""
    return max(rows, key=lambda row: row["test_accuracy"])["step"] if rows else None


def discard_after(run: RunDir, step: int) -> None:
    """Removes files of later steps: the damaged ones that ``load`` passed over."""
    for later in _steps(run):
        if later > step:
            _path(run, later).unlink()


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            limits.require_stored(archive, size)
            if archive.testzip() is not None:  # torch.load itself does not look at the checksums
                raise ValueError("checksum")
        with warnings.catch_warnings(action="ignore"):  # of tensors that are refused below
            saved = torch.load(path, map_location="cpu", weights_only=True)
        _require_no_gradients(saved)
        _require_kinds(saved, size)
        return saved
    except Exception as error:  # a damaged file can fail anywhere in its reader
        raise UserError(f"the checkpoint {path} is damaged ({type(error).__name__})") from error


def _require_no_gradients(value: Any) -> None:
    """Raises ValueError for a tensor, however deep inside, that asks for its gradient."""
    match value:
        case Tensor(requires_grad=True):
            raise ValueError("requires_grad")
        case dict():
            for part in value.values():
                _require_no_gradients(part)
        case list() | tuple():
            for part in value:
                _require_no_gradients(part)


def _require_kinds(saved: Any, size: int) -> None:
    """Raises an error unless a file of ``size`` bytes holds what a training consists of, but for the inner parts of
    optimizer and scheduler."""
    done = saved["step_in_epoch"]
    counts = (saved["step"], saved["epoch"], done)
    fields = {"losses": torch.float64, "correct": torch.int64, "rng": torch.uint8, "epoch_rng": torch.uint8}
    if not all(type(count) is int and 0 <= count <= _LAST for count in counts) or type(saved["seconds"]) is not float:
        raise ValueError("counts")
    parts = (saved["model"], saved["optimizer"], saved["scheduler"] or {})
    if not all(isinstance(part, dict) for part in parts):
        raise TypeError("parts")
    if any(saved[name].dtype != kind or saved[name].ndim != 1 for name, kind in fields.items()):
        raise TypeError("tensors")
    if not len(saved["losses"]) == len(saved["correct"]) == done:
        raise ValueError("losses")
    if not all(isinstance(row["test_accuracy"], float) for row in as_rows(saved["rows"])):
        raise TypeError("rows")
    for tensor in (*saved["model"].values(), *(saved[name] for name in fields)):
        if tensor.numel() * tensor.element_size() > size:  # one number, repeated by a stride of 0
            raise ValueError("size")
        tensor.numpy()  # dense, on the CPU, of a common type


def _path(run: RunDir, step: int) -> Path:
    return run.checkpoints / f"step-{step:08d}.pt"


def _steps(run: RunDir) -> list[int]:
    """Ascending."""
    return sorted(int(found[1]) for path in run.checkpoints.glob("step-*.pt") if (found := _NAME.fullmatch(path.name)))
