"""Loss and accuracies of a split."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from jaxnn.step import Program, Split, TrainState


class Evaluation(NamedTuple):
    """Mean loss and counts; ``confusion[true][predicted]``."""

    loss: float
    confusion: Int64[np.ndarray, "classes classes"]

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
        }


def evaluate(program: Program, state: TrainState, split: Split, *, batch_size: int, classes: int) -> Evaluation:
    """Evaluates all examples of ``split`` in order. The sums are float64, on the host."""
    labels = np.asarray(split.labels)
    values, weights, predictions = _all_examples(program, state, split, len(labels), batch_size)
    confusion = np.bincount(labels * classes + predictions, minlength=classes * classes)
    with np.errstate(invalid="ignore"):  # all labels ignored: NaN, as in PyTorch
        loss = float(np.sum(values) / np.sum(weights))
    return Evaluation(loss, confusion.reshape(classes, classes))


def _all_examples(
    program: Program, state: TrainState, split: Split, count: int, batch_size: int
) -> tuple[Float64[np.ndarray, " examples"], Float64[np.ndarray, " examples"], Int64[np.ndarray, " examples"]]:
    """Loss values, loss weights and predictions of all examples, from batches of one size."""
    batch_size = min(batch_size, count)
    batches = []
    for start in range(0, count, batch_size):
        examples = np.minimum(np.arange(start, start + batch_size), count - 1)  # the last batch is filled up
        batches.append(program.eval_step(state.params, state.buffers, split, examples))
    values, weights, predictions = (np.concatenate([np.asarray(b[i]) for b in batches])[:count] for i in range(3))
    return values.astype(np.float64), weights.astype(np.float64), predictions.astype(np.int64)
