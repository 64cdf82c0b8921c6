"""What a model says of examples whose class is known."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64


class Predictions(NamedTuple):
    """``predicted``: the class that evaluation counts; ``probabilities`` of all classes."""

    labels: Int64[np.ndarray, " examples"]
    predicted: Int64[np.ndarray, " examples"]
    probabilities: Float64[np.ndarray, "examples classes"]

    @staticmethod
    def of(outputs: np.ndarray, labels: np.ndarray) -> "Predictions":
        """From a model's ``outputs``: scores or log-probabilities of the classes, or the log-odds of the second."""
        scores = _scores(outputs)
        return Predictions(np.asarray(labels, np.int64), scores.argmax(axis=1), probabilities(outputs))

    @property
    def confusion(self) -> Int64[np.ndarray, "classes classes"]:
        """``confusion[true][predicted]``"""
        classes = self.probabilities.shape[1]
        return np.bincount(self.labels * classes + self.predicted, minlength=classes**2).reshape(classes, classes)

    @property
    def confidence(self) -> Float64[np.ndarray, " examples"]:
        """The probability of the predicted class."""
        return self.probabilities[np.arange(len(self.predicted)), self.predicted]

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.labels == self.predicted))

    def mistakes(self, count: int) -> Int64[np.ndarray, " mistakes"]:
        """The examples that the model is wrong about, the most confident first, at most ``count``."""
        wrong = np.flatnonzero(self.labels != self.predicted)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]


def probabilities(outputs: np.ndarray) -> Float64[np.ndarray, "examples classes"]:
    """The softmax, under which log-probabilities stay what they are; one output is the log-odds of the second class."""
    scores = _scores(outputs)
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _scores(outputs: np.ndarray) -> np.ndarray:
    outputs = np.asarray(outputs, np.float64)
    return np.concatenate([np.zeros_like(outputs), outputs], axis=1) if outputs.shape[1] == 1 else outputs
