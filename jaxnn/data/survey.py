"""What is there, and is it sound: `jaxnn data list` and `jaxnn data check`."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxnn.data import cache, idx, packed, search
from jaxnn.data.dataset import Dataset
from jaxnn.data.embedded import EMBEDDED
from jaxnn.data.named import NAMED, canonical
from jaxnn.data.sources import load
from jaxnn.errors import UserError

# md5 of the official files, unpacked: train images and labels, test images and labels.
_OFFICIAL = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion_mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


@dataclass(frozen=True)
class Listed:
    """A named set: whether it is on this machine, where, and how to get it."""

    name: str
    found: bool
    where: str
    how: str


@dataclass(frozen=True)
class Checked:
    """What a set holds; ``problems`` is empty for a sound one."""

    name: str
    source: str
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    fingerprint: str
    problems: tuple[str, ...]


def inventory(data_dir: str | os.PathLike[str] | None = None) -> list[Listed]:
    """Every named set and where it was found; nothing is read or downloaded."""
    rows = []
    for named in NAMED.values():
        try:
            found = search.find(named, data_dir)
        except UserError as error:
            rows.append(Listed(named.name, False, "", str(error)))
            continue
        how = f"jaxnn data fetch {named.name}, or --data-dir DIR with {search.layout(named)}"
        rows.append(Listed(named.name, found is not None, str(found.where) if found else "", "" if found else how))
    rows += [Listed(name, True, "scikit-learn", "") for name in EMBEDDED]
    return [*rows, Listed("uniform-ROWSxFEATURES", True, "generated from --seed", "")]


def check(name: str, *, data_dir: str | os.PathLike[str] | None = None, loaded: Dataset | None = None) -> Checked:
    """Reads a set, unless it is ``loaded``, and compares a named one with what is known of the official files.

    Raises what ``load`` raises.
    """
    dataset = load(name, data_dir=data_dir) if loaded is None else loaded
    train, test = (
        tuple(np.bincount(part.labels, minlength=len(dataset.classes)).tolist())
        for part in (dataset.train, dataset.test)
    )
    return Checked(
        name=dataset.name,
        source=dataset.source,
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        train_counts=train,
        test_counts=test,
        fingerprint=dataset.fingerprint,
        problems=tuple(_problems(canonical(name), dataset, train, test)),
    )


def _problems(name: str, dataset: Dataset, train: tuple[int, ...], test: tuple[int, ...]) -> list[str]:
    problems = []
    named = NAMED.get(name)
    for part, counts in (("train", train), ("test", test)):
        official = named and (named.train_counts if part == "train" else named.test_counts)
        if official and counts != official:
            problems.append(f"{part}: examples per class are {counts}, officially {official}")
        elif 0 in counts:
            problems.append(f"{part}: class {dataset.classes[counts.index(0)]!r} has no examples")
    kept = cache.named_file(name)
    if dataset.source == str(kept) and cache.recorded_fingerprint(kept) != dataset.fingerprint:
        problems.append(f"{kept} is not what was fetched; delete it and run `jaxnn data fetch {name}`")
    if packed.is_packed(Path(dataset.source)):
        return problems + packed.verify(Path(dataset.source))
    if name in _OFFICIAL:
        arrays = [a for part in (dataset.train, dataset.test) for a in (part.inputs[..., 0], part.labels)]
        roles = ("train images", "train labels", "test images", "test labels")
        for role, array, official in zip(roles, arrays, _OFFICIAL[name], strict=True):
            if idx.md5(array.astype(np.uint8)) != official:
                problems.append(f"{role} differ from the official file")
    return problems
