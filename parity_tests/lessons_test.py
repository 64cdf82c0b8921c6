"""The lessons of both frameworks: the numbers are the same, and what they say in words each says for itself."""

import numpy as np
import pytest

import torchref.lessons
from jaxnn import course, lessons, plots
from jaxnn.course import Lesson

TOLERANCE = 1e-12  # of a number's largest magnitude


def different(ours: Lesson, theirs: Lesson) -> dict[str, float]:
    """The numbers that differ by more than the tolerance, and by how much; infinite where one has none like it."""
    assert ours.numbers.keys() == theirs.numbers.keys()
    found = {}
    for name, expected in theirs.numbers.items():
        value = ours.numbers[name]
        if value.shape != expected.shape:
            found[name] = np.inf
            continue
        scale = max(np.abs(expected).max(initial=0), 1e-3)
        error = np.abs(value.astype(np.float64) - expected).max(initial=0) / scale
        if not error <= TOLERANCE:
            found[name] = float(error)
    return found


@pytest.mark.parametrize("name", course.LESSONS)
def test_both_frameworks_find_the_same(name: str) -> None:
    ours, theirs = lessons.run(name, seed=420), torchref.lessons.run(name, seed=420)
    assert different(ours, theirs) == {}
    assert ours.words.keys() == theirs.words.keys()
    for lesson in (ours, theirs):
        assert course.text(name, lesson)
    for figure in plots.lesson_figures(name, theirs.numbers).values():
        figure.draw_without_rendering()


def test_another_seed_is_caught() -> None:
    assert "loss" in different(lessons.run("backprop", seed=1), torchref.lessons.run("backprop", seed=2))
