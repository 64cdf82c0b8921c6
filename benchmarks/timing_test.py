"""Who is called when; what is fast is not asserted."""

import numpy as np

from . import timing


def test_each_rival_runs_once_a_round_and_its_first_call_is_not_timed() -> None:
    calls: list[tuple[str, int]] = []

    def rival(name: str, first: float, step: float) -> timing.Run:
        def run(steps: int) -> float:
            calls.append((name, steps))
            return first if [n for n, _ in calls].count(name) == 1 else steps * step

        return run

    rates = timing.interleave({"a": rival("a", 1e6, 1e-3), "b": rival("b", 1e6, 2e-3)}, rounds=5, seconds=1.0)
    assert {name: values.tolist() for name, values in rates.items()} == {
        "a": [1000.0] * 5,
        "b": [500.0] * 5,
    }  # a first call of a million seconds shows nowhere
    rounds = [calls[-10:][i : i + 2] for i in range(0, 10, 2)]
    assert all({name for name, _ in pair} == {"a", "b"} for pair in rounds)
    assert len({pair[0][0] for pair in rounds}) == 2  # not always the same one first
    assert {steps for name, steps in calls[-10:] if name == "a"} == {1000}


def test_a_step_longer_than_the_seconds_is_taken_once() -> None:
    assert timing.steps_for(lambda steps: 10.0 * steps, 0.1) == 1


def test_quartiles() -> None:
    assert timing.quartiles(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == [2.0, 3.0, 4.0]
