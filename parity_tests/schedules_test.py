"""Schedules against torch.optim.lr_scheduler: the same float64 numbers, to the last bit, at every step."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from jaxnn import schedules
from jaxnn.recipe import Optimizer, Schedule

EPOCHS, STEPS_PER_EPOCH = 60, 5
TOTAL = EPOCHS * STEPS_PER_EPOCH
RANDOM = np.random.default_rng(0)
# Falls, stalls, and is noisy: every branch of the plateau rule is taken.
LOSSES = np.maximum(np.exp(-np.arange(EPOCHS) / 4), 0.1) + 1e-3 * RANDOM.normal(size=EPOCHS)

EPOCH_WISE: list[tuple[str, dict[str, Any]]] = [
    ("constant", {}),
    ("step", {"step_size": 7, "gamma": 0.3}),
    ("step", {"step_size": 1, "gamma": 0.9}),
    ("exponential", {"gamma": 0.93}),
    ("cosine", {}),
    ("cosine", {"t_max": 13, "eta_min": 1e-3}),
    ("cosine", {"t_max": 1}),
    ("plateau", {"patience": 2}),
    ("plateau", {"patience": 0, "threshold_mode": "abs", "threshold": 1e-3, "factor": 0.5}),
    ("plateau", {"patience": 1, "cooldown": 3, "min_lr": 1e-3, "factor": 0.5}),
    ("plateau", {"patience": 1, "mode": "max", "monitor": "test_accuracy", "factor": 0.7, "eps": 1e-3}),
    ("plateau", {"patience": 1, "mode": "max", "monitor": "test_accuracy", "threshold_mode": "abs"}),
]
ONE_CYCLE: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"anneal_strategy": "linear", "max_lr": 0.7, "div_factor": 10.0, "final_div_factor": 100.0}),
    ("sgd", {"three_phase": True, "pct_start": 0.4}),
    ("sgd", {"three_phase": True, "pct_start": 0.6}),
    ("sgd", {"cycle_momentum": False}),
    ("rmsprop", {"base_momentum": 0.6, "max_momentum": 0.8}),
    ("adam", {"three_phase": True, "anneal_strategy": "linear"}),
    ("nadam", {"pct_start": 0.123}),
    ("adagrad", {"cycle_momentum": False}),
]


def _metrics(epoch: int) -> dict[str, float]:
    return {"test_loss": float(LOSSES[epoch]), "test_accuracy": float(1 - LOSSES[epoch])}


def _torch_schedule(optimizer: Any, name: str, options: dict[str, Any]) -> Any:
    renamed = {"T_max" if key == "t_max" else key: value for key, value in options.items() if key != "monitor"}
    match name:
        case "constant":
            return lr_scheduler.ConstantLR(optimizer, factor=1.0)
        case "step":
            return lr_scheduler.StepLR(optimizer, **renamed)
        case "exponential":
            return lr_scheduler.ExponentialLR(optimizer, **renamed)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, **({"T_max": EPOCHS} | renamed))
        case _:
            return lr_scheduler.ReduceLROnPlateau(optimizer, **renamed)


def _torch_epochs(name: str, options: dict[str, Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = _torch_schedule(optimizer, name, options)
    rates = []
    for epoch in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*([_metrics(epoch)[options.get("monitor", "test_loss")]] if name == "plateau" else []))
    return rates


def _our_epochs(name: str, options: dict[str, Any], *, interrupt: bool = False) -> list[float]:
    def build() -> schedules.Schedule:
        recipe = Schedule(**dict[str, Any](options, name=name))
        return schedules.build(recipe, optimizer=Optimizer(learning_rate=0.1), epochs=EPOCHS, total_steps=TOTAL)

    schedule, rates = build(), []
    for epoch in range(EPOCHS):
        given = schedule.hyperparameters(epoch * STEPS_PER_EPOCH, STEPS_PER_EPOCH)
        assert given.keys() == {"learning_rate"} and given["learning_rate"].dtype == np.float64
        assert given["learning_rate"].shape == (STEPS_PER_EPOCH,) and np.ptp(given["learning_rate"]) == 0
        rates.append(given["learning_rate"][0])
        schedule.end_epoch(_metrics(epoch))
        if interrupt:
            saved, schedule = json.dumps(schedule.state(), allow_nan=False), build()
            schedule.restore(json.loads(saved))
    return rates


@pytest.mark.parametrize(("name", "options"), EPOCH_WISE, ids=str)
def test_epoch_wise_schedules_equal_torch(name, options):
    theirs = _torch_epochs(name, options)
    assert _our_epochs(name, options) == theirs
    assert _our_epochs(name, options, interrupt=True) == theirs
    assert name == "constant" or len(set(theirs)) > 1


def _torch_steps(name: str, options: dict[str, Any], total: int) -> dict[str, list[float]]:
    kinds = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}
    kinds |= {"nadam": torch.optim.NAdam, "adagrad": torch.optim.Adagrad}
    optimizer = kinds[name]([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = lr_scheduler.OneCycleLR(optimizer, **({"max_lr": 0.1, "total_steps": total} | options))
    rows: dict[str, list[float]] = {"learning_rate": [], "momentum": []}
    for _ in range(total):
        group = optimizer.param_groups[0]
        rows["learning_rate"].append(group["lr"])
        rows["momentum"].append(group["betas"][0] if "betas" in group else group.get("momentum", math.nan))
        optimizer.step()
        schedule.step()
    return rows if options.get("cycle_momentum", True) else {"learning_rate": rows["learning_rate"]}


@pytest.mark.parametrize("total", [TOTAL, 7, 1])
@pytest.mark.parametrize(("name", "options"), ONE_CYCLE, ids=str)
def test_one_cycle_equals_torch(name, options, total):
    recipe = Schedule(**dict[str, Any](options, name="one_cycle"))
    schedule = schedules.build(recipe, optimizer=Optimizer(name=name, learning_rate=0.1), epochs=3, total_steps=total)
    theirs = _torch_steps(name, options, total)
    # In pieces, as a loop asks for them.
    cuts = [0, min(3, total), total]
    parts = [schedule.hyperparameters(a, b - a) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
    ours = {key: np.concatenate([part[key] for part in parts]).tolist() for key in parts[0]}
    assert ours == theirs
    if "momentum" in theirs and total == TOTAL:
        start = schedule.optimizer
        assert theirs["momentum"][0] == (start.betas[0] if name in ("adam", "nadam") else start.momentum)


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("step", {"step_size": 7}, {"step_size": 8}),
        ("exponential", {"gamma": 0.93}, {"gamma": 0.93 * (1 + 1e-15)}),
        ("cosine", {"t_max": 13}, {"t_max": 14}),
        ("plateau", {"patience": 2}, {"patience": 3}),
    ],
)
def test_planted_faults_are_caught(name, options, fault):
    assert _our_epochs(name, fault) != _torch_epochs(name, options)
