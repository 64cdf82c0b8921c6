"""The real data sets that come with scikit-learn: digits, breast-cancer and iris."""

from typing import Any

import numpy as np

from jaxnn.data import split
from jaxnn.data.dataset import Dataset


def digits() -> Dataset:
    """1,797 handwritten digits (sklearn.datasets.load_digits), brought from 8x8 to MNIST's 28x28 and 0 to 255."""
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(i).resize((28, 28), Image.Resampling.BILINEAR)) for i in small]
    return _dataset("digits", np.stack(images)[..., None], bunch)


def breast_cancer() -> Dataset:
    """569 tumors, 30 measurements, malignant or benign (sklearn.datasets.load_breast_cancer)."""
    from sklearn.datasets import load_breast_cancer

    bunch: Any = load_breast_cancer()
    return _dataset("breast-cancer", bunch.data.astype(np.float32), bunch)


def iris() -> Dataset:
    """150 flowers, 4 measurements, 3 species (sklearn.datasets.load_iris)."""
    from sklearn.datasets import load_iris

    bunch: Any = load_iris()
    return _dataset("iris", bunch.data.astype(np.float32), bunch)


EMBEDDED = {"digits": digits, "breast-cancer": breast_cancer, "iris": iris}


def _dataset(name: str, inputs: np.ndarray, bunch: Any) -> Dataset:
    classes = tuple(map(str, bunch.target_names))
    train, test = split.stratified(inputs, bunch.target.astype(np.int32), classes=classes, where=name)
    return Dataset(name=name, train=train, test=test, classes=classes, source="scikit-learn")
