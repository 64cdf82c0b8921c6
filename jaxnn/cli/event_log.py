"""TensorBoard's event files of runs: ``jaxnn train --tensorboard``."""

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from jaxnn.errors import UserError
from jaxnn.run_dir import RunDir
from jaxnn.together import Job

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

_TAGS = {
    "running_loss": "loss/running",
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "learning_rate": "learning_rate",
    "examples_per_second": "examples_per_second",
}


def require() -> None:
    """Raises UserError if there is no TensorBoard to write for."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs TensorBoard, which is not installed: pip install 'jaxnn[tensorboard]'")


class EventLog:
    """What runs measure, by their steps, in RUN/tensorboard.

    A run that is continued hides from TensorBoard what it trains again, and brings its earlier rows of metrics along if
    it was begun without a log.
    """

    def __init__(self, jobs: Sequence[Job], *, resume: bool) -> None:
        """``resume``: those of ``jobs`` that exist go on; otherwise they are replaced, whatever is in them."""
        self._writers: dict[Path, EventFileWriter] = {}
        continued = [job.run for job in jobs if resume and job.run.exists()]
        self._ends = {run.path: {row["step"] for row in run.read_metrics()} for run in continued}

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        for writer in self._writers.values():
            writer.close()

    def started(self, run: RunDir, step: int, *, ended: bool = False) -> None:
        """``run`` goes on from ``step``; its metrics hold the rows that are to stay.

        ``ended``: no step of the epoch was left, and the row of ``step`` is the one that will be measured next.
        """
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        last = step - 1 if ended else step
        rows = {row["step"]: row for row in run.read_metrics() if row["step"] <= last}  # PyTorch may be further by now
        is_new = not run.tensorboard.exists()
        self._writers[run.path] = EventFileWriter(str(run.tensorboard))
        if is_new:
            for end, row in rows.items():
                self.measured(run, end, row)
        else:
            # A last epoch that was cut short and now goes on has lost the row of this very step.
            is_dropped = step in self._ends.get(run.path, ()) and step not in rows
            self._write(run, step if is_dropped else step + 1, session_log={"status": "START"})

    def measured(self, run: RunDir, step: int, values: Mapping[str, Any]) -> None:
        """``values`` by their names in metrics.jsonl, or the running loss."""
        found = [{"tag": tag, "simple_value": values[name]} for name, tag in _TAGS.items() if name in values]
        self._write(run, step, summary={"value": found})
        if "test_loss" in values:
            self._writers[run.path].flush()  # as metrics.jsonl is: killed, a run leaves whole epochs

    def of_pytorch(self, job: Job) -> Callable[[str, dict[str, Any]], None]:
        """What takes the events of the process that trains ``job`` in PyTorch."""

        def take(kind: str, event: dict[str, Any]) -> None:
            if kind == "progress":
                step = (event["epoch"] - 1) * event["steps_per_epoch"] + event["step"]
                if job.run.path not in self._writers:
                    self.started(job.run, step - len(event["losses"]))
                loss = event["running_loss"]
                if loss is None and job.recipe.log_every is None and event["losses"]:
                    loss = statistics.fmean(event["losses"])
                if loss is not None:
                    self.measured(job.run, step, {"running_loss": loss})
            elif kind == "epoch":
                if job.run.path not in self._writers:
                    self.started(job.run, event["step"], ended=True)
                self.measured(job.run, event["step"], event)

        return take

    def _write(self, run: RunDir, step: int, **content: dict[str, Any]) -> None:
        from tensorboard.compat.proto import event_pb2

        event: Any = event_pb2  # its classes are made when it is imported
        self._writers[run.path].add_event(event.Event(wall_time=time.time(), step=step, **content))
