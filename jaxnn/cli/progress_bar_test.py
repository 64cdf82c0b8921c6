"""The bar of a training: its figures, and where the training stands."""

import io
import re

import pytest
from rich.console import Console

from jaxnn.cli.console import TrainingDisplay
from jaxnn.cli.progress_bar import ProgressBar, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(9, 100)], None),
        ([(9, 100), (1, 50), (1, 50)], 50),
        ([(9, 100), (1, 50), (7, None), (1, 50)], 50),
        ([(7, None), (9, 100)], None),
        ([(0, 9), (30, 300), (30, 6000)], 200),
    ],
    ids=["first steps compile", "steady", "evaluation is no training", "evaluation before", "what was is forgotten"],
)
def test_the_rate_is_that_of_training_alone(events: list[tuple[float, int | None]], expected: float | None) -> None:
    """``events``: seconds that passed and the steps taken in them, None in an evaluation."""
    clock = Clock()
    rate, found = Rate(clock), None
    for seconds, steps in events:
        clock.now += seconds
        if steps is None:
            rate.rest()
        else:
            found = rate.add(steps)
    assert found == (expected if expected is None else pytest.approx(expected, rel=0.01))


def test_a_resumed_training_stands_where_it_is() -> None:
    """At step 170 of 400, in the second of four epochs, after 10 steps of 3 examples in each 2 seconds."""
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    bar = ProgressBar(console, epochs=4, steps=400, examples=3, clock=clock)
    for step in (50, 60, 70):
        clock.now += 2
        event = {"epoch": 2, "step": step, "steps_per_epoch": 100, "running_loss": None, "accuracy": 0.5}
        bar.update(**event, losses=[0.25, 0.75] * 5)
    bar.stop()
    drawn = screen.getvalue()
    assert "epoch 2/4" in drawn and "42%" in drawn and "15 examples/s  loss 0.5000  accuracy 0.500" in drawn
    assert "00:46 left" in drawn  # 230 steps at 5 a second


@pytest.mark.parametrize(("width", "shown"), [(60, 1), (80, 2), (100, 3)])
def test_on_a_narrow_terminal_there_is_less_and_nothing_cut(width: int, shown: int) -> None:
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    bar = ProgressBar(console, epochs=80, steps=800, examples=3000, clock=clock)
    for step in (1, 2):
        clock.now += 0.1
        bar.update(epoch=10, step=step, steps_per_epoch=10, running_loss=2.5, accuracy=0.125, losses=[2.5])
    bar.stop()
    drawn = screen.getvalue()
    parts = ("30,000 examples/s", "loss 2.5000", "accuracy 0.125")
    assert [part in drawn for part in parts] == [number < shown for number in range(3)]
    assert "epoch 10/80" in drawn and "left" in drawn and "…" not in drawn
    assert max(len(line) for line in re.split(r"[\r\n]|\x1b\[\w+", drawn)) < width - 2  # ^C has room


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay("title", epochs=1, steps=2, examples=3, quiet_stdout=False) as display:
        for step in (1, 2):
            loss = 0.5 if step == 2 else None
            event = {"epoch": 1, "step": step, "steps_per_epoch": 2, "running_loss": loss, "accuracy": 0.5}
            display.progress(**event, losses=[0.5])
    captured = capsys.readouterr()
    assert captured.out == "title\n[1,     2/2] loss 0.5000  accuracy so far 0.5000\n" and captured.err == ""
