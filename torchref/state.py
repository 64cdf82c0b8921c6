"""What a run is at a moment: everything that its continuation depends on."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from jaxnn.data import Dataset
from jaxnn.data.order import batching, total_steps
from jaxnn.recipe import Recipe
from torchref import losses, models, optim, precision, schedules
from torchref.resume import require_same_length
from torchref.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is: ``steps`` in all, ``steps_per_epoch`` in each epoch but the last, which may have fewer."""

    steps: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        return min(self.steps_per_epoch, self.steps - (epoch - 1) * self.steps_per_epoch)


def plan(recipe: Recipe, examples: int) -> Plan:
    batches = batching(examples, recipe)
    return Plan(steps=total_steps(batches, recipe), steps_per_epoch=batches.steps)


@dataclass(kw_only=True)
class State:
    """A run between two steps. ``epoch`` counts from 1; ``step_in_epoch`` of its steps are done, ``step`` of all.

    ``epoch_rng`` is the state of torch's default generator from which the epoch's order is drawn,
    ``rows`` the metrics of the epochs that have them.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: schedules.Scheduler | None
    loss: losses.LossFunction
    epoch_rng: Tensor
    epoch: int = 1
    step_in_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def next_epoch(self) -> None:
        self.epoch += 1
        self.step_in_epoch, self.seconds, self.tally = 0, 0.0, Tally()
        self.epoch_rng = torch.get_rng_state()


def start(recipe: Recipe, dataset: Dataset, device: torch.device, plan: Plan) -> State:
    """The state before the first step; seeds torch's generators. Raises UserError if recipe and data do not fit."""
    classes = len(dataset.classes)
    loss = losses.build(recipe.loss, classes=classes)
    torch.manual_seed(recipe.seed)
    # Drawn in float32 whatever the precision, so that all precisions start from the same weights.
    with precision.default_dtype("float32"):
        outputs = 1 if recipe.loss.binary else classes
        model = models.build(recipe.model, input_shape=dataset.input_shape, outputs=outputs)
    precision.place(model, recipe.precision, device)
    if recipe.trained_layer is not None:
        model.requires_grad_(False).get_submodule(recipe.trained_layer).requires_grad_(True)
    optimizer = optim.build(model.parameters(), recipe.optimizer)
    scheduler = schedules.build(optimizer, recipe.schedule, recipe.optimizer, epochs=plan.epochs, steps=plan.steps)
    return State(model=model, optimizer=optimizer, scheduler=scheduler, loss=loss, epoch_rng=torch.get_rng_state())


def snapshot(state: State) -> dict[str, Any]:
    """The state as tensors, numbers and strings. Its tally must be settled."""
    return {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler and state.scheduler.state_dict(),
        "epoch_rng": state.epoch_rng,
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "epoch": state.epoch,
        "step_in_epoch": state.step_in_epoch,
        "step": state.step,
        "seconds": state.seconds,
        "losses": state.tally.losses,
        "correct": state.tally.correct,
        "rows": state.rows,
    }


def restore(state: State, saved: dict[str, Any]) -> None:
    """Takes a freshly started state, and torch's generators, to where ``saved`` was made.

    Raises UserError if the learning rate was scheduled for a run of another length.
    """
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    if state.scheduler is not None:
        require_same_length(state.scheduler, saved["scheduler"])
        state.scheduler.load_state_dict(saved["scheduler"])
    for name in ("epoch_rng", "epoch", "step_in_epoch", "step", "seconds", "rows"):
        setattr(state, name, saved[name])
    state.tally = Tally(losses=saved["losses"], correct=saved["correct"])
    torch.set_rng_state(saved["rng"])
    if saved["cuda_rng"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda_rng"])


def is_finished(state: State, plan: Plan) -> bool:
    """Whether all steps are done and measured."""
    return state.step >= plan.steps and bool(state.rows) and state.rows[-1]["step"] == state.step


def is_finite(state: State) -> bool:
    """Whether every parameter is a finite number."""
    return all(bool(parameter.isfinite().all()) for parameter in state.model.parameters())
