"""The sets that need no file, and the 20 % split that they and the user's files get."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import train_test_split

from jaxnn.data import load
from jaxnn.errors import UserError
from jaxnn.torch_random import TorchGenerator


@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("digits", (1437, 28, 28, 1), (360, 28, 28, 1), tuple("0123456789")),
        ("breast-cancer", (455, 30), (114, 30), ("malignant", "benign")),
        ("breast_cancer", (455, 30), (114, 30), ("malignant", "benign")),
        ("iris", (120, 4), (30, 4), ("setosa", "versicolor", "virginica")),
    ],
)
def test_shapes_and_classes(name, train, test, classes):
    dataset = load(name)
    assert dataset.train.inputs.shape == train and dataset.test.inputs.shape == test
    assert dataset.classes == classes and dataset.train.labels.dtype == np.int32
    assert dataset.train.inputs.dtype == (np.uint8 if name == "digits" else np.float32)


def test_the_split_is_stratified_in_order_and_the_same_for_every_seed():
    dataset = load("iris", seed=1)
    assert np.bincount(dataset.test.labels).tolist() == [10, 10, 10]
    assert dataset.train.labels.tolist() == sorted(dataset.train.labels)  # iris is sorted by class
    assert dataset.fingerprint == load("iris", seed=2).fingerprint
    inputs, target = load_iris(return_X_y=True)
    expected = train_test_split(np.arange(150), stratify=target, test_size=0.2, random_state=0)[1]
    np.testing.assert_array_equal(dataset.test.inputs, inputs[sorted(expected)].astype(np.float32))


def test_digits_keep_their_order_and_range():
    dataset, original = load("digits"), load_digits(return_X_y=True)[1]
    assert dataset.train.inputs.max() == 255 and dataset.train.inputs.min() == 0
    position = iter(original.tolist())
    assert all(label in position for label in dataset.train.labels.tolist())  # a subsequence of the original


def test_generated_data_follow_the_generator():
    dataset, generator = load("uniform-40x7", seed=3), TorchGenerator(3)
    for part, rows in ((dataset.train, 40), (dataset.test, 8)):
        np.testing.assert_array_equal(part.inputs, generator.rand((rows, 7)) * np.float32(100))
        np.testing.assert_array_equal(part.labels, generator.randint(0, 3, (rows, 1))[:, 0])
    assert dataset.train.inputs.dtype == np.float32 and dataset.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "name", ["uniform-0x20", "uniform-500", "uniform-99999999x99999", "uniform-5x-1", f"uniform-{'9' * 5000}x1"]
)
def test_impossible_sizes_are_refused(name):
    with pytest.raises(UserError, match="is not uniform-ROWSxFEATURES"):
        load(name)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [("1,a\n2,a\n3,b\n4,a\n", "class 'b' has 1"), ("1,a\n2,a\n3,b\n4,b\n5,c\n6,c\n", "cannot hold one of each")],
)
def test_too_few_rows_to_split(tmp_path, rows, sentence):
    (tmp_path / "few.csv").write_text(rows)
    with pytest.raises(UserError, match=sentence):
        load(str(tmp_path / "few.csv"))
