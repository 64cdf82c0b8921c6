"""When a run is saved, and how many of its checkpoints are kept."""

import math
from dataclasses import dataclass

from jaxnn.errors import UserError


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """A checkpoint after every ``steps`` steps or, if that is None, at most one in ``seconds``; always one at the end.

    The best stays, and the newest ``keep`` of the others.
    """

    steps: int | None = None
    seconds: float = 30.0
    keep: int = 2

    @classmethod
    def parse(cls, every: str | None, keep: int) -> "CheckpointPolicy":
        """``every``: "500" steps, "10s" seconds, or None for the default. Raises UserError for anything else."""
        if keep < 1:
            raise UserError(f"--keep-checkpoints must be at least 1, but it is {keep}")
        if every is None:
            return cls(keep=keep)
        try:
            if every.endswith("s"):
                seconds = float(every[:-1])
                if math.isfinite(seconds) and seconds >= 0:
                    return cls(seconds=seconds, keep=keep)
            elif int(every) >= 1:
                return cls(steps=int(every), keep=keep)
        except ValueError:
            pass
        raise UserError(f"--checkpoint-every takes steps (500) or seconds (10s), but it is {every!r}")

    def due(self, step: int, *, seconds: float) -> bool:
        """Whether to save after step ``step``; ``seconds``: since the last checkpoint, or since the start."""
        return step % self.steps == 0 if self.steps else seconds >= self.seconds

    def next_step(self, step: int) -> float:
        """The first step after ``step`` that has a checkpoint of its own; infinite if only time decides."""
        return (step // self.steps + 1) * self.steps if self.steps else math.inf
