"""Where a run is in its data, and what its current epoch has measured so far."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic

from jaxnn.data.order import Batching
from jaxnn.errors import NonFiniteLossError, UserError
from jaxnn.precision import Dtypes

_WORDS = 624  # of the Mersenne Twister
_Word = Annotated[int, pydantic.Field(ge=0, lt=2**32)]


@dataclass(frozen=True)
class _Twister:
    key: Annotated[list[_Word], pydantic.Field(min_length=_WORDS, max_length=_WORDS)]
    pos: Annotated[int, pydantic.Field(ge=0, le=_WORDS)]


@dataclass(frozen=True)
class _Schedule:
    epoch: pydantic.NonNegativeInt
    learning_rate: pydantic.FiniteFloat
    best: float | None = None
    bad_epochs: int | None = None
    cooldown: int | None = None


@dataclass(frozen=True)
class _Record:
    epoch: pydantic.PositiveInt
    done: pydantic.NonNegativeInt
    seconds: Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
    stream: _Twister | Annotated[dict[str, Any], pydantic.Field(max_length=0)]  # JAX's streams have no state
    schedule: _Schedule


_RECORD = pydantic.TypeAdapter(_Record)


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


def require_valid(record: Any, where: Path, *, step: int, batches: Batching, rng: str) -> None:
    """Raises UserError unless ``record`` can be the position of the checkpoint ``where`` after ``step`` steps.

    It has what ``Position.record`` returns, and "schedule", the state of the schedule.
    """
    try:
        read = _RECORD.validate_json(json.dumps(record), strict=True)
        steps = (read.epoch - 1) * batches.steps + read.done
        is_torch = isinstance(read.stream, _Twister)
        if (
            steps != step
            or read.done > batches.steps
            or read.schedule.epoch > read.epoch
            or is_torch != (rng == "torch")
        ):
            raise ValueError("it is of another run")
    except (ValueError, RecursionError) as error:
        raise UserError(f"the checkpoint {where} is damaged: its position is none of this run; remove it") from error
