"""What a run is at a moment: everything that its continuation depends on."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from jaxnn.data import Dataset, UserError
from jaxnn.data.order import batching, total_steps
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir
from torchref import losses, models, optim, precision, schedules
from torchref.resume import require_same_length
from torchref.tally import Tally

_SCALARS = ("step", "mu_product")  # of what optimizers keep for a parameter


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is: ``steps`` in all, ``steps_per_epoch`` in each epoch but the last, which may have fewer.

    ``smallest_batch``: the number of examples of an epoch's smallest batch.
    """

    steps: int
    steps_per_epoch: int
    smallest_batch: int

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        return min(self.steps_per_epoch, self.steps - (epoch - 1) * self.steps_per_epoch)


def plan(recipe: Recipe, examples: int) -> Plan:
    batches = batching(examples, recipe)
    return Plan(
        steps=total_steps(batches, recipe),
        steps_per_epoch=batches.steps,
        smallest_batch=batches.tail or batches.batch_size,
    )


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


def restore(state: State, saved: dict[str, Any], plan: Plan, run: RunDir) -> None:
    """Takes a freshly started state, and torch's generators, to where ``saved``, a checkpoint of ``run``, was made.

    Raises UserError if the learning rate was scheduled for a run of another length, and if ``saved`` is of another run
    or damaged: it can hold anything in the place of anything.
    """
    if state.scheduler is not None and saved["scheduler"] is not None:
        require_same_length(state.scheduler, saved["scheduler"])
    try:
        with warnings.catch_warnings(action="ignore"):  # of values of another kind
            _restore(state, saved, plan)
    except Exception as error:
        raise UserError(
            f"the checkpoint in {run.checkpoints} is of another recipe or damaged; train anew with --overwrite"
        ) from error


def _restore(state: State, saved: dict[str, Any], plan: Plan) -> None:
    state.model.load_state_dict(saved["model"])
    options = [group.copy() for group in state.optimizer.param_groups]
    state.optimizer.load_state_dict(saved["optimizer"])
    for group, before in zip(state.optimizer.param_groups, options, strict=True):
        _require_alike({name: group[name] for name in before}, before)
        for parameter in group["params"]:
            _require_slots(parameter, state.optimizer.state.get(parameter, {}))
    if state.scheduler is not None:
        _require_alike(saved["scheduler"], state.scheduler.state_dict())
        state.scheduler.load_state_dict(saved["scheduler"])
    for name in ("epoch_rng", "epoch", "step_in_epoch", "step", "seconds", "rows"):
        setattr(state, name, saved[name])
    if (state.epoch - 1) * plan.steps_per_epoch + state.step_in_epoch != state.step:
        raise ValueError("its counts contradict each other")
    state.tally = Tally(losses=saved["losses"], correct=saved["correct"])
    torch.set_rng_state(saved["epoch_rng"])
    torch.set_rng_state(saved["rng"])
    if saved["cuda_rng"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda_rng"])


def _require_alike(found: Any, like: Any) -> None:
    """Raises ValueError unless ``found`` has the structure of ``like``, and numbers where that has numbers."""
    match like:
        case dict():
            if not isinstance(found, dict) or found.keys() != like.keys():
                raise ValueError("other names")
            for name in like:
                _require_alike(found[name], like[name])
        case list() | tuple():
            if not isinstance(found, list | tuple) or len(found) != len(like):
                raise ValueError("another length")
            for each, other in zip(found, like, strict=True):
                _require_alike(each, other)
        case bool() | str() | None:
            if type(found) is not type(like):
                raise ValueError("another kind")
        case int() | float():
            if type(found) not in (int, float):
                raise ValueError("no number")


def _require_slots(parameter: Tensor, slots: dict[str, Any]) -> None:
    for name, value in slots.items():
        if value is None:
            continue
        if not isinstance(value, Tensor) or value.shape != (() if name in _SCALARS else parameter.shape):
            raise ValueError(f"{name} is of another parameter")


def is_finished(state: State, plan: Plan) -> bool:
    """Whether all steps are done and measured."""
    return state.step >= plan.steps and bool(state.rows) and state.rows[-1]["step"] == state.step


def is_finite(state: State) -> bool:
    """Whether every parameter is a finite number."""
    return all(bool(parameter.isfinite().all()) for parameter in state.model.parameters())
