"""When the loop saves, and the best state that has no checkpoint yet."""

import copy
import time
from typing import Any

from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.run_dir import RunDir
from torchref import checkpoint
from torchref import state as states
from torchref.state import State


class Saver:
    """Saves ``state`` in ``run`` when ``policy`` says so; inside it as a context no good state is lost to a bad end.

    One that does not ``write``, of another process than the run's first, saves nothing.
    """

    def __init__(self, run: RunDir, state: State, policy: CheckpointPolicy, *, writes: bool = True) -> None:
        self._run, self._state, self._policy, self._writes = run, state, policy, writes
        self._saved_at = time.monotonic()
        self._best: dict[str, Any] | None = None  # not written yet

    @property
    def due(self) -> bool:
        return self._writes and self._policy.due(self._state.step, seconds=time.monotonic() - self._saved_at)

    def save(self) -> None:
        """Writes the state, unless its weights are spoiled (the next loss says so), and the best one before it."""
        self._write_best()
        if self._writes and states.is_finite(self._state):
            self._write(states.snapshot(self._state))
        self._saved_at = time.monotonic()

    def keep_as_best(self) -> None:
        """Keeps the state as it is now, to be written with the next one."""
        if self._writes:
            self._best = copy.deepcopy(states.snapshot(self._state))

    def _write_best(self) -> None:
        best, self._best = self._best, None
        if best is not None:
            self._write(best)

    def _write(self, snapshot: dict[str, Any]) -> None:
        self._run.flush_metrics()
        checkpoint.save(self._run, snapshot, keep=self._policy.keep)

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *_: object) -> None:
        self._write_best()
