"""Loss and accuracies of a split."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from jaxnn.placement import Placed
from jaxnn.step import Program, TrainState

FIRST = 4
"""Examples of which an evaluation says the class predicted: the documents show as many."""


class Evaluation(NamedTuple):
    """Mean loss and counts; ``confusion[true][predicted]``; the class predicted of each example."""

    loss: float
    confusion: Int64[np.ndarray, "classes classes"]
    predictions: Int64[np.ndarray, " examples"]

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def class_accuracy(self) -> list[float | None]:
        """The accuracy on the examples of each class; None for a class without examples."""
        counts = self.confusion.sum(axis=1)
        return [float(hits / n) if n else None for hits, n in zip(np.diag(self.confusion), counts, strict=True)]

    def summary(self) -> dict[str, Any]:
        """The evaluation as one JSON-able object."""
        return {
            "test_loss": self.loss,
            "test_accuracy": self.accuracy,
            "class_accuracy": self.class_accuracy,
            "confusion": self.confusion.tolist(),
            "examples": int(self.confusion.sum()),
            "first_predictions": self.predictions[:FIRST].tolist(),
        }


def evaluate(
    program: Program, state: TrainState, split: Placed, *, runs: int, batch_size: int, classes: int, in_one_call: bool
) -> list[Evaluation]:
    """Evaluates all examples of ``split`` in order, for each of ``runs``: in one compiled call, or one a batch.

    The sums are float64, on the host.
    """
    outcomes = _all_examples(program, state, split, runs, batch_size, in_one_call)
    labels = np.broadcast_to(split.labels, outcomes[0].shape)
    return [_summed(*of_run, classes) for of_run in zip(labels, *outcomes, strict=True)]


def _summed(
    labels: np.ndarray, values: np.ndarray, weights: np.ndarray, predictions: np.ndarray, classes: int
) -> Evaluation:
    confusion = np.bincount(labels * classes + predictions, minlength=classes * classes)
    with np.errstate(invalid="ignore", over="ignore"):  # all labels ignored: NaN, as in PyTorch
        loss = float(np.sum(values) / np.sum(weights))
    return Evaluation(loss, confusion.reshape(classes, classes), predictions)


def _all_examples(
    program: Program, state: TrainState, split: Placed, runs: int, batch_size: int, in_one_call: bool
) -> tuple[
    Float64[np.ndarray, "runs examples"], Float64[np.ndarray, "runs examples"], Int64[np.ndarray, "runs examples"]
]:
    """Loss values, loss weights and predictions of all examples, from batches of one size."""
    count = split.labels.shape[-1]
    batch_size = min(batch_size, count)
    batches = math.ceil(count / batch_size)
    # The last batch is filled up with the last example.
    examples = np.minimum(np.arange(batches * batch_size, dtype=np.int32), count - 1).reshape(batches, batch_size)
    splits = split.each_step(examples)
    if in_one_call:
        results = program.eval_steps(state.params, state.buffers, next(splits), examples)
    else:
        positions = split.positions(examples)
        each = [
            program.eval_step(state.params, state.buffers, part, None if positions is None else positions[number])
            for number, part in enumerate(splits)
        ]
        results = (np.stack([np.asarray(one) for one in column], axis=-2) for column in zip(*each, strict=True))
    values, weights, predictions = (np.asarray(result).reshape(runs, -1)[:, :count] for result in results)
    return values.astype(np.float64), weights.astype(np.float64), predictions.astype(np.int64)
