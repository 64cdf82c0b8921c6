"""The test split of a set that comes without one: 20 % of each class."""

import math

import numpy as np
from jaxtyping import Int, Int32, Shaped

from jaxnn.data.dataset import Split
from jaxnn.errors import UserError

_TEST_SHARE = 0.2


def stratified(
    inputs: Shaped[np.ndarray, "examples ..."],
    labels: Int32[np.ndarray, " examples"],
    *,
    classes: tuple[str, ...],
    where: str,
) -> tuple[Split, Split]:
    """(train, test): see ``stratified_rows``."""
    train, test = stratified_rows(labels, classes=classes, where=where)
    return Split(inputs[train], labels[train]), Split(inputs[test], labels[test])


def stratified_rows(
    labels: Int32[np.ndarray, " examples"], *, classes: tuple[str, ...], where: str
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Row numbers (train, test): scikit-learn's stratified split with random_state 0, each in the original order.

    Raises UserError that names a class with fewer than two examples.
    """
    from sklearn.model_selection import train_test_split

    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < 2:
        raise UserError(
            f"{where}: class {classes[counts.argmin()]!r} has {counts.min()} example(s), but each class needs at least "
            "2 to give one to the test split; add examples or remove the class"
        )
    if math.ceil(_TEST_SHARE * len(labels)) < len(classes):
        raise UserError(
            f"{where}: 20 % of its {len(labels)} examples cannot hold one of each of the {len(classes)} classes, "
            "which the test split needs; add examples"
        )
    train, test = train_test_split(np.arange(len(labels)), test_size=_TEST_SHARE, stratify=labels, random_state=0)
    return np.sort(train), np.sort(test)
