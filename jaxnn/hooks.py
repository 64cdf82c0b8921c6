"""What the training loop tells its caller, and asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxnn.run_dir import RunDir


def _ignore(*_: Any, **__: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """``notice`` gets sentences for people.

    ``progress`` gets epoch, step, steps_per_epoch, accuracy (on the epoch's examples so far),
    running_loss: every ``recipe.log_every`` steps the mean over that many batches, else None; and losses: those of the
    steps since the last call. All are means over the runs. ``epoch`` gets the row of metrics of each run.
    ``started`` gets each run and the step from which it goes on; ``measured`` a run, its step, and the running_loss
    there (without ``recipe.log_every`` the mean since the last call), or the row of metrics of an epoch that ended.
    """

    notice: Callable[[str], None] = _ignore
    progress: Callable[..., None] = _ignore
    epoch: Callable[[list[dict[str, Any]]], None] = _ignore
    started: Callable[[RunDir, int], None] = _ignore
    measured: Callable[[RunDir, int, Mapping[str, Any]], None] = _ignore
    should_stop: Callable[[], bool] = lambda: False
