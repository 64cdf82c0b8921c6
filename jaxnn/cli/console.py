"""What training looks like: a progress bar on a terminal, plain lines elsewhere."""

import statistics
import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class _Console(Console):
    def on_broken_pipe(self) -> None:  # rich would end the process
        raise BrokenPipeError


def stdout() -> Console:
    """Standard output; wide enough that tables keep their lines when they go to a file or a pipe."""
    return _Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def stderr() -> Console:
    return _Console(stderr=True, highlight=False, soft_wrap=True)


class TrainingDisplay:
    """Shows the events of a training run below its ``title``; ``quiet_stdout`` leaves standard output to JSON."""

    def __init__(self, title: str | None, *, epochs: int, quiet_stdout: bool) -> None:
        self._title = title
        stream = sys.stderr if quiet_stdout else sys.stdout
        self._epochs = epochs
        # Lines are never wrapped: programs read them.
        self._console = _Console(file=stream, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self.closed = False  # nobody reads any more

    def __enter__(self) -> "TrainingDisplay":
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[status]}"), console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("epoch 1", total=None, status="compiling")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        if self._bar is not None:
            self._bar.stop()

    def line(self, text: str) -> None:
        title, self._title = self._title, None  # not before there is something to say: mistakes may show up late
        try:
            for part in (title, text):
                if part is not None and not self.closed:
                    self._console.print(part, markup=False)
        except BrokenPipeError:
            self.closed = True

    def notice(self, text: str) -> None:
        self.line(f"note: {text}")

    def progress(
        self,
        *,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        running_loss: float | None,
        accuracy: float,
        losses: list[float],
    ) -> None:
        if self._bar is not None:
            status = f"accuracy {accuracy:.3f}" + (f"  loss {running_loss:.4f}" if running_loss is not None else "")
            name = f"epoch {epoch}/{self._epochs}"
            self._bar.update(self._task, description=name, completed=step, total=steps_per_epoch, status=status)
        if running_loss is not None:
            self.line(f"[{epoch}, {step:>5}/{steps_per_epoch}] loss {running_loss:.4f}  accuracy so far {accuracy:.4f}")

    def epoch(self, rows: list[dict[str, Any]]) -> None:
        """A row of metrics, or the rows of several runs: their means and standard deviations."""

        def of(name: str) -> str:
            values = [row[name] for row in rows]
            spread = f" +- {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            return f"{statistics.fmean(values):.4f}{spread}"

        self.line(
            f"epoch {rows[0]['epoch']}/{self._epochs}  "
            f"train loss {of('train_loss')} accuracy {of('train_accuracy')}  "
            f"test loss {of('test_loss')} accuracy {of('test_accuracy')}  "
            f"{sum(row['examples_per_second'] for row in rows):,.0f} examples/s"
        )
