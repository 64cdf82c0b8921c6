"""The batches of a comparison: NumPy arrays in PyTorch's layout, checked before either framework sees them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnn.errors import UserError

Batch = tuple[np.ndarray, np.ndarray]
"""Inputs and targets of equal length; images as (batch, channels, height, width)."""


def as_batches(batch: Batch | Sequence[Batch], precision: str) -> list[Batch]:
    """One batch or a list of them, floats in ``precision``; steps of training take them in turn, over and over.

    Raises UserError for anything but pairs of NumPy arrays of one length above 0, and for inputs that are
    not finite.
    """
    given: list[Any] = [batch] if isinstance(batch, tuple) else list(batch)
    if not given:
        raise UserError("the batch is an empty list; give (inputs, targets) as NumPy arrays")
    return [_checked(pair, precision, f"batch {number}" if len(given) > 1 else "the batch") for number, pair in
            enumerate(given, start=1)]  # fmt: skip


def _checked(pair: Batch, precision: str, where: str) -> Batch:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(x, np.ndarray) for x in pair):
        raise UserError(f"{where} must be a pair (inputs, targets) of NumPy arrays in PyTorch's layout")
    inputs, targets = (_typed(array, precision, where) for array in pair)
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets):
        raise UserError(
            f"{where} must have as many targets as inputs, but their shapes are {inputs.shape} and {targets.shape}"
        )
    if len(inputs) == 0:
        raise UserError(f"{where} is empty: its inputs have shape {inputs.shape}")
    for name, array in (("inputs", inputs), ("targets", targets)):
        if not np.isfinite(array).all():
            raise UserError(f"{where} holds {name} that are not finite numbers; a comparison could not tell them apart")
    return inputs, targets


def _typed(array: np.ndarray, precision: str, where: str) -> np.ndarray:
    if np.issubdtype(array.dtype, np.floating):
        return np.asarray(array, precision, order="C")
    if np.issubdtype(array.dtype, np.integer):
        return np.asarray(array, np.int64, order="C")
    raise UserError(f"{where} holds values of type {array.dtype}; give floats or integers")
