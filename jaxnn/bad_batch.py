"""What is told and kept of the step in which a tensor was first NaN or infinite."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxnn.files import write_atomically
from jaxnn.run_dir import RunDir


def first_bad(tensors: Iterable[tuple[str, str, np.ndarray]]) -> str | None:
    """Of (name, dtype, values) in the order of a step the first that is not finite, in words."""
    for name, dtype, values in tensors:
        bad = int(np.sum(~np.isfinite(values)))
        if bad:
            shape = "x".join(map(str, values.shape)) or "scalar"
            return f"{name} ({dtype}, {shape}) is the first tensor that is not finite, in {bad} of {values.size} values"
    return None


def keep(run: RunDir, found: str, *, epoch: int, step: int, **arrays: Any) -> str:
    """Writes the batch of ``step`` (of ``epoch``, both from 1) to RUN/nonfinite.npz; returns the cause of the failure.

    The cause also says if the batch could not be written. ``arrays``: ``inputs`` as the network gets them, ``labels``,
    and ``examples``, their numbers in the training split.
    """
    content = io.BytesIO()
    np.savez_compressed(content, epoch=epoch, step=step, **arrays)
    try:
        write_atomically(run.nonfinite_file, content.getvalue())
        where = f"its batch is in {run.nonfinite_file}"
    except OSError as error:
        where = f"its batch could not be written to {run.nonfinite_file} ({error.strerror})"
    return f"{found}, in step {step} of epoch {epoch}; {where}"
