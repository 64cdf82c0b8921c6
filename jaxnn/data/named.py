"""The data sets that have a name: how each is spelled, its classes, and where its files come from."""

import re
from dataclasses import dataclass
from urllib.parse import urljoin

import numpy as np

from jaxnn.data.dataset import Dataset
from jaxnn.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Files on a web server: {name: (bytes, sha256)}, as tensorflow-datasets registers them."""

    base: str
    files: dict[str, tuple[int, str]]

    def url(self, file: str) -> str:
        return urljoin(self.base, file)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A set that lies in files. ``version`` is that of tensorflow-datasets."""

    name: str
    title: str
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]  # examples of each class, the same in every faithful copy
    test_counts: tuple[int, ...]
    version: str
    origin: Origin

    def matches(self, file_name: str) -> bool:
        """Whether a file or folder of that name holds this set: fashion-mnist, FashionMNIST, dataset-fashion-mnist."""
        return _plain(file_name).removeprefix("dataset") == _plain(self.name)


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


_DIGITS = tuple("0123456789")

_MNIST = Named(
    name="mnist",
    title="MNIST",
    classes=_DIGITS,
    train_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    test_counts=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    version="3.0.1",
    origin=Origin(
        base="https://storage.googleapis.com/cvdf-datasets/mnist/",
        files={
            "train-images-idx3-ubyte.gz": (
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            "train-labels-idx1-ubyte.gz": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            "t10k-images-idx3-ubyte.gz": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            "t10k-labels-idx1-ubyte.gz": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        },
    ),
)

_FASHION = Named(
    name="fashion_mnist",
    title="Fashion-MNIST",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    train_counts=(6000,) * 10,
    test_counts=(1000,) * 10,
    version="3.0.1",
    origin=Origin(
        base="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        files={
            "train-images-idx3-ubyte.gz": (
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            "train-labels-idx1-ubyte.gz": (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            "t10k-images-idx3-ubyte.gz": (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            "t10k-labels-idx1-ubyte.gz": (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        },
    ),
)

_CIFAR10 = Named(
    name="cifar10",
    title="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train_counts=(5000,) * 10,
    test_counts=(1000,) * 10,
    version="3.0.2",
    origin=Origin(
        base="https://www.cs.toronto.edu/~kriz/",
        files={
            "cifar-10-binary.tar.gz": (
                170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            )
        },
    ),
)

NAMED = {named.name: named for named in (_MNIST, _FASHION, _CIFAR10)}


def canonical(name: str) -> str:
    """The name as ``NAMED`` and the embedded sets spell it: Fashion-MNIST -> fashion_mnist."""
    spelled = {_plain(known): known for known in (*NAMED, "digits", "breast-cancer", "iris")}
    return spelled.get(_plain(name), name)


def require_not_another(named: Named, dataset: Dataset) -> Dataset:
    """Refuses files of one named set in the place of another, which the label counts give away."""
    counts = tuple(np.bincount(dataset.train.labels, minlength=len(named.classes)).tolist())
    for other in NAMED.values():
        if other is not named and counts == other.train_counts != named.train_counts:
            raise UserError(
                f"{dataset.source} holds {other.title}, not {named.title}; "
                f"use --dataset {other.name} or put the files of {named.title} there"
            )
    return dataset
