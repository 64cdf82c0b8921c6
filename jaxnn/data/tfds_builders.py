"""tensorflow-datasets' mnist, fashion_mnist and cifar10, prepared without TensorFlow.

The stock builders decode and extract with TensorFlow. These have the stock names, versions, features,
keys and split names, so the stock `tfds.data_source` reads what they write. Imported only when a set is
downloaded, because tensorflow-datasets takes seconds to import.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.utils import Size

from jaxnn.data import cifar, idx
from jaxnn.data.dataset import Split
from jaxnn.data.named import NAMED, Origin


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Downloads from ``origin`` and insists on its checksums."""

    def __init__(self, *, data_dir: Path, origin: Origin) -> None:
        self._origin = origin
        super().__init__(data_dir=data_dir)

    @property
    def url_infos(self) -> dict[str, UrlInfo]:  # type: ignore[override]  # there it is read from a file
        return {
            self._origin.url(file): UrlInfo(size=Size(size), checksum=sha256, filename=file)
            for file, (size, sha256) in self._origin.files.items()
        }

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(self._features())
        title = NAMED[self.name].title
        return tfds.core.DatasetInfo(
            builder=self, description=title, features=features, supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        # One after the other: after a failure nothing must still be writing into the folder of downloads.
        files = {file: Path(dl_manager.download(self._origin.url(file))) for file in self._origin.files}
        splits = self._read(files)
        return {part: self._generate_examples(part, split) for part, split in splits.items()}

    def _generate_examples(self, part: str, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, (pixels, label) in enumerate(zip(split.inputs, split.labels, strict=True)):
            image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
            example = {"image": image, "label": int(label), "id": f"{part}_{key:05d}"}
            yield key, {name: example[name] for name in self._features()}

    @abstractmethod
    def _features(self) -> dict[str, Any]: ...

    @abstractmethod
    def _read(self, files: Mapping[str, Path]) -> dict[str, Split]:
        """The splits in the downloaded files (whose names on disk differ)."""


class Mnist(_Builder, skip_registration=True):
    VERSION = tfds.core.Version(NAMED["mnist"].version)

    def _features(self) -> dict[str, Any]:
        return {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=10)}

    def _read(self, files: Mapping[str, Path]) -> dict[str, Split]:
        return {
            part: idx.read_pair(files[f"{stem}-images-idx3-ubyte.gz"], files[f"{stem}-labels-idx1-ubyte.gz"])
            for part, stem in (("train", "train"), ("test", "t10k"))
        }


class FashionMnist(Mnist, skip_registration=True):
    VERSION = tfds.core.Version(NAMED["fashion_mnist"].version)

    def _features(self) -> dict[str, Any]:
        label = tfds.features.ClassLabel(names=NAMED["fashion_mnist"].classes)
        return {"image": tfds.features.Image(shape=(28, 28, 1)), "label": label}


class Cifar10(_Builder, skip_registration=True):
    VERSION = tfds.core.Version(NAMED["cifar10"].version)

    def _features(self) -> dict[str, Any]:
        label = tfds.features.ClassLabel(names=NAMED["cifar10"].classes)
        return {"id": tfds.features.Text(), "image": tfds.features.Image(shape=(32, 32, 3)), "label": label}

    def _read(self, files: Mapping[str, Path]) -> dict[str, Split]:
        (archive,) = files.values()
        dataset = cifar.read(archive, name=self.name, classes=NAMED["cifar10"].classes)
        return {"train": dataset.train, "test": dataset.test}


BUILDERS = {"mnist": Mnist, "fashion_mnist": FashionMnist, "cifar10": Cifar10}
