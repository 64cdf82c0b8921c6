"""The bar of a whole training on a terminal: how far, how fast, how well, how long still."""

import math
import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_MEMORY = 5.0  # seconds after which what was fast or slow counts for 1/e
_OTHERS = 46  # columns for epoch, bar, percentage and time left, and the ^C of an interruption, which would wrap


class Rate:
    """Steps a second, smoothed, of training alone: ``rest`` says that time passed without steps."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since: float | None = None
        self._steps = self._seconds = 0.0

    def rest(self) -> None:
        """Not before the first steps: these compile."""
        if self._since is not None:
            self._since = self._clock()

    def add(self, steps: int) -> float | None:
        """``steps`` were taken since the last call; None as long as nothing is known."""
        now, since = self._clock(), self._since
        self._since = now
        if since is not None:
            seconds = now - since
            kept = math.exp(-seconds / _MEMORY)
            self._steps, self._seconds = kept * self._steps + steps, kept * self._seconds + seconds
        return self._steps / self._seconds if self._seconds > 0 else None


class ProgressBar:
    """``steps`` of all ``epochs``, each of ``examples`` (of all runs that are trained together)."""

    def __init__(
        self,
        console: Console,
        *,
        epochs: int,
        steps: int,
        examples: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._epochs, self._examples, self._rate = epochs, examples, Rate(clock)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=min(40, max(8, console.width - 84))),
            TaskProgressColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        # Drawing takes turns with Python's part of the training.
        self._progress = Progress(*columns, console=console, transient=True, refresh_per_second=4, get_time=clock)
        self._task = self._progress.add_task("compiling", total=steps, status="")
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def update(
        self,
        *,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        running_loss: float | None,
        accuracy: float,
        losses: list[float],
    ) -> None:
        """As jaxnn.loop.Hooks has it."""
        done, taken = (epoch - 1) * steps_per_epoch + step, len(losses)
        loss = statistics.fmean(losses) if running_loss is None and losses else running_loss
        rate = self._rate.add(taken)
        parts = [] if rate is None else [f"{rate * self._examples:,.0f} examples/s"]
        parts += [] if loss is None else [f"loss {loss:.4f}"]
        parts.append(f"accuracy {accuracy:.3f}")
        while len("  ".join(parts)) > self._progress.console.width - _OTHERS and len(parts) > 1:
            parts.pop()
        self._progress.update(
            self._task, description=f"epoch {epoch}/{self._epochs}", completed=done, status="  ".join(parts)
        )

    def rest(self) -> None:
        """Steps begin again now: an epoch has been evaluated and saved."""
        self._rate.rest()
