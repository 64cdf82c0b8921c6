import json
from typing import Any

import numpy as np
import pytest

from jaxnn import schedules
from jaxnn.errors import UserError
from jaxnn.recipe import Optimizer, Schedule

SGD = Optimizer(learning_rate=0.1)


def _build(optimizer: Optimizer = SGD, *, total_steps: int = 100, **options: Any) -> schedules.Schedule:
    return schedules.build(Schedule(**options), optimizer=optimizer, epochs=10, total_steps=total_steps)


def _rates(schedule: schedules.Schedule, losses: list[float]) -> list[float]:
    rates = []
    for loss in losses:
        rates.append(schedule.hyperparameters(0, 1)["learning_rate"].item())
        schedule.end_epoch({"test_loss": loss})
    return rates


def test_step_decays_after_whole_periods():
    assert _rates(_build(name="step", step_size=2, gamma=0.5), [1.0] * 5) == [0.1, 0.1, 0.05, 0.05, 0.025]


def test_cosine_ends_after_the_run_s_epochs_and_rises_again():
    rates = _rates(_build(name="cosine"), [1.0] * 21)
    np.testing.assert_allclose(rates[5], 0.05, rtol=1e-14)
    assert rates[10] == 0.0 and abs(rates[20] - 0.1) < 1e-14


def test_plateau_waits_for_patience_and_cooldown():
    schedule = _build(name="plateau", patience=1, cooldown=2, factor=0.5)
    assert _rates(schedule, [1.0] * 8) == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025]


def test_state_is_json_and_continues_the_same_rates():
    whole = _rates(_build(name="plateau", patience=0), [1.0, 1.0, 0.5, 0.6])
    first, second = _build(name="plateau", patience=0), _build(name="plateau", patience=0)
    start = _rates(first, [1.0, 1.0])
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert start + _rates(second, [0.5, 0.6]) == whole


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (SGD, Optimizer(learning_rate=0.1, momentum=0.95)),
        (Optimizer(name="rmsprop", momentum=0.5), Optimizer(name="rmsprop", momentum=0.95)),
        (Optimizer(name="adam", betas=(0.9, 0.99)), Optimizer(name="adam", betas=(0.95, 0.99))),
    ],
)
def test_one_cycle_starts_the_momentum(optimizer, expected):
    assert _build(optimizer, name="one_cycle").optimizer == expected
    assert _build(optimizer, name="one_cycle", cycle_momentum=False).optimizer == optimizer


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (Optimizer(name="adagrad"), {}, "adagrad .* --schedule.no-cycle-momentum"),
        (SGD, {"base_momentum": 0.0}, "schedule.base_momentum"),
        (SGD, {"pct_start": 0.1, "total_steps": 10}, "schedule.pct_start 0.1 of 10 steps"),
    ],
)
def test_a_cycle_that_cannot_be_is_refused(optimizer, options, message):
    with pytest.raises(UserError, match=message):
        _build(optimizer, name="one_cycle", **options)
