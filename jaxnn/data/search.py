"""Where a named set may lie, in the order of search."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxnn.data import cache, cifar, idx, image_folder, tfds_source, tree
from jaxnn.data.dataset import Dataset
from jaxnn.data.named import Named, require_not_another
from jaxnn.errors import UserError
from jaxnn.files import expanded

SYSTEM_FOLDERS = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))


class Found(NamedTuple):
    """A place that holds a set, not read yet."""

    where: Path
    read: Callable[[], Dataset]


def find(named: Named, data_dir: str | os.PathLike[str] | None) -> Found | None:
    """The first place that holds the set; ``data_dir`` is the only one if given.

    Raises UserError if ``data_dir`` is no folder or does not hold the set.
    """
    if data_dir is None:
        return next(_anywhere(named), None)
    folder = expanded(data_dir)
    if not folder.is_dir():
        raise UserError(f"--data-dir {folder} is not a folder; name the one that holds {named.name}/")
    found = next(in_folder(named, folder), None)
    if found is None:
        raise UserError(f"--data-dir {folder} does not hold {named.title}; put it there as {layout(named)}")
    return found


def layout(named: Named) -> str:
    """Which files to put into a data folder."""
    if named.name == "cifar10":
        return "cifar-10-binary.tar.gz, cifar-10-python.tar.gz or a tar of train/CLASS/*.png|jpg named cifar10*.tar"
    return f"{named.name}/{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte[.gz]"


def _anywhere(named: Named) -> Iterator[Found]:
    if own := os.environ.get("JAXNN_DATA_DIR"):
        yield from in_folder(named, expanded(own))
    kept = cache.named_file(named.name)
    if kept.is_file():
        yield Found(kept, lambda: dataclasses.replace(cache.read(kept)[0], source=str(kept)))
    for folder in SYSTEM_FOLDERS:
        yield from in_folder(named, folder)
    yield from _prepared(named, tfds_source.root())


def in_folder(named: Named, folder: Path) -> Iterator[Found]:
    """The set as files in a folder of its own below ``folder``, or directly in it, or prepared by tfds."""
    if not folder.is_dir():
        return
    yield from _prepared(named, folder)
    if named.name == "cifar10":
        yield from _cifar(named, folder)
        return
    own = sorted(path for path in folder.iterdir() if path.is_dir() and named.matches(path.name))
    for path in (*own, folder):
        for place in (path, path / "raw"):  # torchvision keeps MNIST/raw/
            if idx.has_files(place):
                yield Found(place, lambda place=place: _read_idx(named, place))


def _prepared(named: Named, folder: Path) -> Iterator[Found]:
    if place := tfds_source.prepared(named, folder):
        yield Found(place, lambda: cache.cached(place, lambda: tfds_source.read(named, place)))


def _read_idx(named: Named, place: Path) -> Dataset:
    return require_not_another(named, idx.read_folder(place, name=named.name, classes=named.classes))


def _cifar(named: Named, folder: Path) -> Iterator[Found]:
    """Archives and folders named cifar10*, what lies in such a folder, or the files in ``folder`` itself."""
    # In the order of names the official cifar-10-* come before other copies, such as cifar10-jpeg.
    own = sorted(path for path in folder.iterdir() if _is_cifar10_name(path.name))
    inside = [path for at in own if at.is_dir() for path in sorted(at.iterdir()) if _is_cifar10_name(path.name)]
    for path in (*own, *inside, folder):
        holds = any((path / sign).exists() for sign in ("data_batch_1", "data_batch_1.bin", "test_batch", "train"))
        if tree.is_tar(path) or holds:
            yield Found(path, lambda path=path: cache.cached(path, lambda: _read_cifar(named, path)))


def _is_cifar10_name(name: str) -> bool:
    plain = name.lower().replace("-", "").replace("_", "")
    return plain.startswith("cifar10") and not plain.startswith("cifar100")


def _read_cifar(named: Named, path: Path) -> Dataset:
    if cifar.holds_batches(path):
        return cifar.read(path, name=named.name, classes=named.classes)
    dataset = image_folder.read(path, name=named.name)
    if dataset.classes != named.classes:
        raise UserError(
            f"{path} has the classes {', '.join(dataset.classes[:10])}, which are not CIFAR-10's; use --dataset {path}"
        )
    return dataset
