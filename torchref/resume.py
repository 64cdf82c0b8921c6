"""Taking a run up again where its newest checkpoint left it."""

from collections.abc import Callable
from typing import Any

from jaxnn.data import Dataset, UserError
from jaxnn.run_dir import RunDir
from torchref import checkpoint
from torchref.schedules import Scheduler


def load(run: RunDir, dataset: Dataset, on_notice: Callable[[str], None]) -> dict[str, Any] | None:
    """The run's newest readable state; None if it has none yet, so that it starts.

    Raises UserError if the run was made by JAX or from other data: what would follow would be neither run.
    """
    if not run.exists():
        return None
    _, framework = run.read_recipe()
    if framework != "torch":
        raise UserError(f"{run.path} was trained with --framework {framework}; resume it with that one")
    saved = checkpoint.load(run, on_notice)
    if saved is None:
        return None
    run.require_data(dataset)
    checkpoint.discard_after(run, saved["step"])
    return saved


def require_same_length(scheduler: Scheduler, saved: dict[str, Any]) -> None:
    """Raises UserError if the saved state of a OneCycleLR or CosineAnnealingLR was made for another length."""
    new = scheduler.state_dict()
    for name in ("total_steps", "T_max"):
        if saved.get(name) != new.get(name):
            raise UserError(
                f"the learning rate was scheduled for {name} {saved.get(name)} and cannot go on with {new.get(name)}; "
                "resume with the old number of epochs and steps, or start anew with --overwrite"
            )
