"""A recipe's learning-rate schedule: torch.optim.lr_scheduler, stepped as its documentation says."""

from typing import Any

import torch
from torch.optim import lr_scheduler

from jaxnn.data import UserError
from jaxnn.recipe import Optimizer, Schedule

Scheduler = lr_scheduler.LRScheduler


def build(
    optimizer: torch.optim.Optimizer, schedule: Schedule, config: Optimizer, *, epochs: int, steps: int
) -> Scheduler | None:
    """The scheduler of a run of ``epochs`` epochs and ``steps`` steps; None for a constant learning rate.

    ``config`` is the recipe's optimizer. Raises UserError for a OneCycleLR that torch cannot make.
    """
    match schedule.name:
        case "constant":
            return None
        case "step":
            return lr_scheduler.StepLR(optimizer, schedule.step_size, schedule.gamma)
        case "exponential":
            return lr_scheduler.ExponentialLR(optimizer, schedule.gamma)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, schedule.t_max or epochs, schedule.eta_min)
        case "one_cycle":
            return _one_cycle(optimizer, schedule, config, steps)
        case "plateau":
            return lr_scheduler.ReduceLROnPlateau(
                optimizer,
                mode=schedule.mode,
                factor=schedule.factor,
                patience=schedule.patience,
                threshold=schedule.threshold,
                threshold_mode=schedule.threshold_mode,
                cooldown=schedule.cooldown,
                min_lr=schedule.min_lr,
                eps=schedule.eps,
            )


def _one_cycle(
    optimizer: torch.optim.Optimizer, schedule: Schedule, config: Optimizer, steps: int
) -> lr_scheduler.OneCycleLR:
    if schedule.cycle_momentum and config.name == "adagrad":
        raise UserError("adagrad has no momentum to cycle; add --schedule.no-cycle-momentum")
    try:
        return lr_scheduler.OneCycleLR(
            optimizer,
            config.learning_rate if schedule.max_lr is None else schedule.max_lr,
            total_steps=steps,
            pct_start=schedule.pct_start,
            anneal_strategy=schedule.anneal_strategy,
            cycle_momentum=schedule.cycle_momentum,
            base_momentum=schedule.base_momentum,
            max_momentum=schedule.max_momentum,
            div_factor=schedule.div_factor,
            final_div_factor=schedule.final_div_factor,
            three_phase=schedule.three_phase,
        )
    except ZeroDivisionError as error:
        raise UserError(
            f"schedule.pct_start {schedule.pct_start} of {steps} steps is a rise of exactly one step, "
            "which OneCycleLR cannot make; choose another schedule.pct_start"
        ) from error


def after_step(schedule: Schedule, scheduler: Scheduler | None) -> None:
    """Advances a schedule that counts steps."""
    if scheduler is not None and schedule.name == "one_cycle":
        scheduler.step()


def after_epoch(schedule: Schedule, scheduler: Scheduler | None, row: dict[str, Any]) -> None:
    """Advances a schedule that counts epochs; ``row`` holds the metrics that plateau watches."""
    if scheduler is None or schedule.name == "one_cycle":
        return
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        scheduler.step(row[schedule.monitor])
    else:
        scheduler.step()
