"""Where a run is in its data, and what its current epoch has measured so far."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnn.data.order import Batching
from jaxnn.errors import NonFiniteLossError
from jaxnn.precision import Dtypes


@dataclass
class Position:
    """``done`` steps of ``epoch`` (from 1), which took ``seconds``; loss and correct predictions of each step.

    ``stream`` is the random stream as it was when the epoch began: an epoch taken up in the middle is
    drawn again from there.
    """

    epoch: int
    done: int
    seconds: float
    stream: dict[str, Any]
    loss: np.ndarray  # (steps of an epoch,)
    correct: np.ndarray

    @classmethod
    def at_epoch(cls, epoch: int, steps: int, stream: dict[str, Any], dtypes: Dtypes) -> "Position":
        """Before the first step of ``epoch``, which has ``steps``."""
        return cls(epoch, 0, 0.0, stream, np.full(steps, np.nan, dtypes.param), np.zeros(steps, np.int32))

    def record(self) -> dict[str, Any]:
        """What is no array, as JSON."""
        return {"epoch": self.epoch, "done": self.done, "seconds": self.seconds, "stream": self.stream}

    def arrays(self) -> dict[str, np.ndarray]:
        """The rest."""
        return {"loss": self.loss, "correct": self.correct}

    @classmethod
    def from_record(cls, record: dict[str, Any], loss: np.ndarray, correct: np.ndarray) -> "Position":
        fields = {name: record[name] for name in ("epoch", "done", "seconds", "stream")}
        return cls(**fields, loss=np.array(loss), correct=np.array(correct))

    def require_finite(self, target: int) -> None:
        """Raises NonFiniteLossError for the first step before ``target`` whose loss is not a finite number."""
        losses = self.loss[self.done : target]
        if not np.isfinite(losses).all():
            bad = int(np.argmin(np.isfinite(losses)))
            raise NonFiniteLossError(epoch=self.epoch, step=self.done + bad + 1, loss=float(losses[bad]))

    def skipped(self) -> int:
        """How many steps of the epoch were skipped so far."""
        return int(np.isnan(self.loss[: self.done]).sum())

    def accuracy(self, batches: Batching) -> float:
        """On the examples of the epoch so far, as the steps saw them."""
        measured, sizes = self._sizes(batches)
        return float(self.correct[: self.done][measured].sum() / sizes.sum()) if len(sizes) else math.nan

    def measured(self, batches: Batching, *, summed: bool) -> dict[str, float]:
        """The training part of a row of metrics; ``summed``: a batch's loss is a sum over its examples.

        Raises NonFiniteLossError if all steps were skipped.
        """
        measured, sizes = self._sizes(batches)
        if not len(sizes):
            raise NonFiniteLossError(
                epoch=self.epoch, step=self.done, loss=math.nan, cause="all its steps were skipped"
            )
        losses = self.loss[: self.done][measured].astype(np.float64)
        return {
            "train_loss": float((losses if summed else losses * sizes).sum() / sizes.sum()),
            "train_accuracy": self.accuracy(batches),
            "seconds": self.seconds,
            "examples_per_second": float(sizes.sum() / self.seconds),
        }

    def _sizes(self, batches: Batching) -> tuple[np.ndarray, np.ndarray]:
        """Which of the steps done were neither skipped nor taken elsewhere before an import, and their examples."""
        sizes = np.full(self.done, batches.batch_size)
        if batches.tail and self.done == batches.steps:
            sizes[-1] = batches.tail
        measured = ~np.isnan(self.loss[: self.done])
        return measured, sizes[measured]
