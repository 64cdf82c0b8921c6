"""What training looks like: a progress bar on a terminal, plain lines elsewhere."""

import statistics
import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.text import Text

from jaxnn.cli.progress_bar import ProgressBar
from jaxnn.errors import printable


class _Console(Console):
    """Prints text as it is: no markup, no emoji and no colours for numbers; control characters are escaped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    def on_broken_pipe(self) -> None:  # rich would end the process
        raise BrokenPipeError


def stdout() -> Console:
    """Standard output; wide enough that tables keep their lines when they go to a file or a pipe."""
    return _Console(width=None if sys.stdout.isatty() else 160)


def stderr() -> Console:
    return _Console(stderr=True, soft_wrap=True)


class TrainingDisplay:
    """Shows the events of a training run below its ``title``; ``quiet_stdout`` leaves standard output to JSON.

    ``steps``: of all ``epochs``; ``examples``: of a step, of all runs.
    """

    def __init__(self, title: str | None, *, epochs: int, steps: int, examples: int, quiet_stdout: bool) -> None:
        self._title = title
        stream = sys.stderr if quiet_stdout else sys.stdout
        self._epochs, self._steps, self._examples = epochs, steps, examples
        # Lines are never wrapped: programs read them.
        self._console = _Console(file=stream, soft_wrap=True)
        self._bar: ProgressBar | None = None
        self.closed = False  # nobody reads any more

    def __enter__(self) -> "TrainingDisplay":
        if self._console.is_terminal:
            self._bar = ProgressBar(self._console, epochs=self._epochs, steps=self._steps, examples=self._examples)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        if self._bar is not None:
            self._bar.stop()

    def line(self, text: str) -> None:
        title, self._title = self._title, None  # not before there is something to say: mistakes may show up late
        try:
            for part in (title, text):
                if part is not None and not self.closed:
                    self._console.print(part)
        except BrokenPipeError:
            self.closed = True

    def notice(self, text: str) -> None:
        self.line(f"note: {text}")

    def progress(self, **event: Any) -> None:
        """Steps were taken; see jaxnn.loop.Hooks."""
        if self._bar is not None:
            self._bar.update(**event)
        self.say_steps(**event)

    def epoch(self, rows: list[dict[str, Any]]) -> None:
        """A row of metrics, or the rows of several runs."""
        self.say_epoch(rows)
        if self._bar is not None:
            self._bar.rest()

    def say_steps(
        self,
        *,
        epoch: int,
        step: int,
        steps_per_epoch: int,
        running_loss: float | None,
        accuracy: float,
        losses: list[float],
    ) -> None:
        if running_loss is not None:
            self.line(f"[{epoch}, {step:>5}/{steps_per_epoch}] loss {running_loss:.4f}  accuracy so far {accuracy:.4f}")

    def say_epoch(self, rows: list[dict[str, Any]]) -> None:
        """Of several runs means and standard deviations."""

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
