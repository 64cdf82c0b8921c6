"""What both frameworks' lessons share: the list, the texts, and how a lesson's numbers fill its text. Knows neither."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LESSONS = {
    "autograd": "derivatives of a number, of weights and of inputs; a backward pass taken twice",
    "backprop": "the chain rule by hand through one and two sigmoid layers, against automatic derivatives",
    "momentum": "a step of gradient descent; v = gamma v - lr g by hand and in the optimizer, where they part",
    "batch-size": "full batch, mini-batches, single examples: paths and losses; iterations in an epoch",
    "dataloader": "batch size, shuffle, drop_last; the order of every epoch from the seed",
    "loss-surface": "a surface of two weights in 3D, and how three ways of descent cross it",
    "training-loop": "LeNet: forward, backward, the graph, a step by hand and by four optimizers",
    "evaluate": "accuracy, each class's accuracy, and what the network makes of single pictures",
    "save-load": "weights, a whole model, a training to resume; dropout and BatchNorm in their two modes",
    "device": "the devices there are, arrays moved to one, a step computed there, numbers back on the host",
}


class Lesson(NamedTuple):
    """What a lesson found out: ``numbers`` that both frameworks share, and ``words`` in which they differ."""

    numbers: dict[str, np.ndarray]
    words: dict[str, str]


def lesson(numbers: Mapping[str, Any], words: Mapping[str, str]) -> Lesson:
    """A lesson of whatever NumPy takes as arrays: numbers, arrays of JAX, tensors on the CPU without gradients."""
    return Lesson({name: np.asarray(value) for name, value in numbers.items()}, dict(words))


def module(name: str) -> str:
    """The module of a lesson, in jaxnn.lessons and in torchref.lessons."""
    return name.replace("-", "_")


def text(name: str, lesson: Lesson) -> str:
    """What the lesson prints: its text in ``texts``, with its numbers and words in their places."""
    template = (Path(__file__).parent / "texts" / f"{module(name)}.txt").read_text(encoding="utf-8")
    shown = {name: _Shown(value) for name, value in lesson.numbers.items()}
    return template.format(**shown, **lesson.words).rstrip("\n")


class _Shown:
    """An array in a text: ``{loss:.4f}``, ``{path[0]:.2f}``, ``{path[-1][1]:.2f}``; whole arrays with brackets."""

    def __init__(self, value: np.ndarray) -> None:
        self._value = value

    def __getitem__(self, index: int | str) -> "_Shown":
        return _Shown(self._value[int(index)])  # str.format takes negative numbers for names

    def __format__(self, specification: str) -> str:
        def one(value: Any) -> str:
            return format(value.item(), specification)

        if self._value.ndim == 0:
            return one(self._value)
        shown: Any = {"all": one}
        return np.array2string(self._value, formatter=shown, max_line_width=100, separator=", ")
