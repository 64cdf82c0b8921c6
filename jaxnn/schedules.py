"""Learning rate schedules with the numbers of torch.optim.lr_scheduler, in float64 on the host.

Each is torch's own recursion in torch's order of operations, so values are equal to the last bit.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxnn import recipe
from jaxnn.errors import UserError

# What changes from epoch to epoch: plain numbers (and None), so that a checkpoint can hold it as JSON.
Progress = dict[str, Any]
EndEpoch = Callable[[Progress, Mapping[str, float]], Progress]


class Schedule:
    """The hyperparameters of every step of a run.

    ``optimizer``: the recipe's optimizer with the momentum that the schedule starts from, if it cycles it.
    """

    def __init__(
        self,
        optimizer: recipe.Optimizer,
        *,
        end_epoch: EndEpoch | None = None,
        at_step: Callable[[int], dict[str, float]] | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._progress: Progress = {"epoch": 0, "learning_rate": optimizer.learning_rate}
        self._end_epoch, self._at_step = end_epoch, at_step

    def hyperparameters(self, step: int, n: int) -> dict[str, np.ndarray]:
        """The values for ``n`` steps from ``step`` (from 0, over all epochs) on, all in the current epoch.

        float64 arrays of shape (n,): "learning_rate", and "momentum" (Adam's family: beta1) if it is cycled.
        """
        if self._at_step is None:
            return {"learning_rate": np.full(n, self._progress["learning_rate"], np.float64)}
        values = [self._at_step(s) for s in range(step, step + n)]
        return {name: np.array([value[name] for value in values], np.float64) for name in self._at_step(step)}

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Ends an epoch, whose row of metrics.jsonl is ``metrics``."""
        if self._end_epoch is not None:
            self._progress = self._end_epoch(self._progress | {"epoch": self._progress["epoch"] + 1}, metrics)

    def state(self) -> Progress:
        """What a checkpoint must hold; it is JSON."""
        return dict(self._progress)

    def restore(self, state: Progress) -> None:
        """Continues from what ``state`` gave."""
        self._progress = dict(state)


def build(schedule: recipe.Schedule, *, optimizer: recipe.Optimizer, epochs: int, total_steps: int) -> Schedule:
    """The schedule of a run of ``epochs`` epochs and ``total_steps`` steps. Raises UserError if it does not fit."""
    match schedule.name:
        case "constant":
            return Schedule(optimizer)
        case "step":
            return Schedule(optimizer, end_epoch=_step_lr(schedule))
        case "exponential":
            return Schedule(optimizer, end_epoch=_exponential_lr(schedule))
        case "cosine":
            base, t_max = optimizer.learning_rate, schedule.t_max or epochs
            return Schedule(optimizer, end_epoch=_cosine_annealing_lr(base, t_max, schedule.eta_min))
        case "plateau":
            return Schedule(optimizer, end_epoch=_reduce_lr_on_plateau(schedule))
        case "one_cycle":
            max_lr = optimizer.learning_rate if schedule.max_lr is None else schedule.max_lr
            at_step = _one_cycle_lr(schedule, max_lr, total_steps)
            return Schedule(starting_optimizer(schedule, optimizer), at_step=at_step)


def _step_lr(schedule: recipe.Schedule) -> EndEpoch:
    def end_epoch(progress: Progress, _: Mapping[str, float]) -> Progress:
        decays = progress["epoch"] % schedule.step_size == 0
        return progress | {"learning_rate": progress["learning_rate"] * (schedule.gamma if decays else 1.0)}

    return end_epoch


def _exponential_lr(schedule: recipe.Schedule) -> EndEpoch:
    def end_epoch(progress: Progress, _: Mapping[str, float]) -> Progress:
        return progress | {"learning_rate": progress["learning_rate"] * schedule.gamma}

    return end_epoch


def _cosine_annealing_lr(base: float, t_max: int, eta_min: float) -> EndEpoch:
    def end_epoch(progress: Progress, _: Mapping[str, float]) -> Progress:
        epoch, rate = progress["epoch"], progress["learning_rate"]
        if (epoch - 1 - t_max) % (2 * t_max) == 0:
            # The epoch after a minimum: the general rule would divide by zero, and the rate rises again.
            rate = rate + (base - eta_min) * (1 - math.cos(math.pi / t_max)) / 2
        else:
            ratio = (1 + math.cos(math.pi * epoch / t_max)) / (1 + math.cos(math.pi * (epoch - 1) / t_max))
            rate = ratio * (rate - eta_min) + eta_min
        return progress | {"learning_rate": rate}

    return end_epoch


def _reduce_lr_on_plateau(schedule: recipe.Schedule) -> EndEpoch:
    sign = 1 if schedule.mode == "max" else -1

    def is_better(current: float, best: float) -> bool:
        change = sign * schedule.threshold
        bar = best * (1 + change) if schedule.threshold_mode == "rel" else best + change
        return current > bar if schedule.mode == "max" else current < bar

    def end_epoch(progress: Progress, metrics: Mapping[str, float]) -> Progress:
        current, rate = metrics[schedule.monitor], progress["learning_rate"]
        best, bad_epochs, cooldown = (progress.get(name) for name in ("best", "bad_epochs", "cooldown"))
        bad_epochs, cooldown = bad_epochs or 0, cooldown or 0
        if is_better(current, -sign * math.inf if best is None else best):
            best, bad_epochs = current, 0
        else:
            bad_epochs += 1
        if cooldown > 0:
            cooldown, bad_epochs = cooldown - 1, 0
        if bad_epochs > schedule.patience:
            reduced = max(rate * schedule.factor, schedule.min_lr)
            rate = reduced if rate - reduced > schedule.eps else rate
            cooldown, bad_epochs = schedule.cooldown, 0
        return progress | {"learning_rate": rate, "best": best, "bad_epochs": bad_epochs, "cooldown": cooldown}

    return end_epoch


def _one_cycle_lr(schedule: recipe.Schedule, max_lr: float, total_steps: int) -> Callable[[int], dict[str, float]]:
    first_end = schedule.pct_start * total_steps - 1
    if first_end == 0:
        raise UserError(
            f"schedule.pct_start {schedule.pct_start} of {total_steps} steps is a rise of no steps; "
            "choose another schedule.pct_start, or train for more steps"
        )
    initial_lr = max_lr / schedule.div_factor
    min_lr = initial_lr / schedule.final_div_factor
    low, high = schedule.base_momentum, schedule.max_momentum
    second_end = 2 * schedule.pct_start * total_steps - 2
    last = total_steps - 1
    # (end before, end, learning rates, momenta at both); a boundary may fall between two steps.
    phases = [(0.0, first_end, (initial_lr, max_lr), (high, low))]
    if schedule.three_phase:
        phases.append((first_end, second_end, (max_lr, initial_lr), (low, high)))
        phases.append((second_end, last, (initial_lr, min_lr), (high, high)))
    else:
        phases.append((first_end, last, (max_lr, min_lr), (low, high)))

    def anneal(start: float, end: float, share: float) -> float:
        if schedule.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)

    def at_step(step: int) -> dict[str, float]:
        start, end, rates, momenta = next(phase for phase in phases if step <= phase[1])
        share = (step - start) / (end - start)
        values = {"learning_rate": anneal(*rates, share)}
        return values | ({"momentum": anneal(*momenta, share)} if schedule.cycle_momentum else {})

    return at_step


def starting_optimizer(schedule: recipe.Schedule, optimizer: recipe.Optimizer) -> recipe.Optimizer:
    """The optimizer with the momentum that a cycle starts from: SGD gets one even if it had none, as in torch."""
    if schedule.name != "one_cycle" or not schedule.cycle_momentum:
        return optimizer
    if optimizer.name == "adagrad":
        raise UserError("adagrad has no momentum to cycle; add --schedule.no-cycle-momentum")
    if not (0 < schedule.base_momentum < 1 and 0 < schedule.max_momentum < 1):
        raise UserError(
            "schedule.base_momentum and schedule.max_momentum must be between 0 and 1, but they are "
            f"{schedule.base_momentum} and {schedule.max_momentum}"
        )
    if optimizer.name in ("sgd", "rmsprop"):
        return dataclasses.replace(optimizer, momentum=schedule.max_momentum)
    return dataclasses.replace(optimizer, betas=(schedule.max_momentum, optimizer.betas[1]))
