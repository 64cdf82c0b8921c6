"""``load`` and ``load_for``: from a name, a path or a recipe to arrays."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from jaxnn.data import cache, cifar, download, generated, idx, image_files, image_folder, packed, search, table, tree
from jaxnn.data.dataset import Dataset
from jaxnn.data.embedded import EMBEDDED
from jaxnn.data.fitting import prepare
from jaxnn.data.named import NAMED, canonical
from jaxnn.errors import UserError
from jaxnn.files import expanded
from jaxnn.recipe import Input, Recipe


def load(
    dataset: str | None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    label: str | None = None,
    header: table.Header = "auto",
    seed: int = 420,
    input: Input | None = None,
    memory_limit: int | None = None,
) -> Dataset:
    """The data set of that name, or in the file or folder of that path, in its original order.

    ``data_dir``: the only place searched for a named set that lies in files. ``label``, ``header``: how a
    CSV file is read. ``seed``: of generated sets only. ``input``: of the recipe to ``prepare`` the set for; image files
    are then fitted to it one by one, and may differ in size. ``memory_limit``: bytes of pixels above which those of a
    folder stay on disk (None: half of this machine's memory). Raises UserError if there is no such set or it is
    damaged.
    """
    if dataset is None:
        is_table = input is None or input.size is None
        kind = "a CSV or TSV file with --dataset FILE" if is_table else "a folder of pictures with --dataset FOLDER"
        raise UserError(f"this recipe has no data set of its own; name {kind}")
    name = canonical(dataset)
    try:
        if name in NAMED:
            found = search.find(NAMED[name], data_dir)
            if found is None:
                download.fetch(name)
                found = search.find(NAMED[name], None)
            assert found is not None  # fetch raises if it could not put it there
            return found.read()
        if name in EMBEDDED:
            return EMBEDDED[name]()
        if generated.is_name(name):
            return generated.uniform(name, seed=seed)
        return _load_path(dataset, label=label, header=header, input=input, memory_limit=memory_limit)
    except OSError as error:
        raise UserError(f"{error.filename or dataset} cannot be read: {error.strerror or error}") from error


def load_for(recipe: Recipe, *, memory_limit: int | None = None) -> Dataset:
    """The data of ``recipe``, as its model takes them. Raises UserError as ``load`` and ``prepare`` do."""
    found = load(
        recipe.dataset,
        data_dir=recipe.data_dir,
        label=recipe.label,
        header=recipe.header,
        seed=recipe.seed,
        input=recipe.input,
        memory_limit=memory_limit,
    )
    return prepare(found, recipe.input)


def is_name(dataset: str) -> bool:
    """Whether ``dataset`` names a known set; names go before paths."""
    name = canonical(dataset)
    return name in NAMED or name in EMBEDDED or generated.is_name(name)


def depends_on_seed(dataset: str | None) -> bool:
    """Whether ``load`` gives other data for another seed."""
    return dataset is not None and generated.is_name(canonical(dataset))


def _load_path(
    dataset: str, *, label: str | None, header: table.Header, input: Input | None, memory_limit: int | None
) -> Dataset:
    path = expanded(dataset)
    if not path.exists():
        raise UserError(_not_found(dataset))
    name = path.name.split(".")[0] or str(path)
    if path.is_file() and path.suffix.lower() in table.ENDINGS:
        return table.read(path, name=name, label=label, header=header)
    read = _reader(path, name, input, memory_limit)
    if label is not None:
        raise UserError(f"--label is for CSV and TSV files, and {path} is none; leave it out")
    return read()


def _reader(path: Path, name: str, input: Input | None, memory_limit: int | None) -> Callable[[], Dataset]:
    if packed.is_packed(path):
        return lambda: packed.read(path, sized=input is not None and input.size is not None)
    if path.is_dir() and idx.has_files(path):
        return lambda: idx.read_folder(path, name=name)
    if path.is_dir() or tree.is_tar(path):
        return lambda: _pictures(path, name, input, memory_limit)
    if path.is_file() and idx.is_idx(path):
        return lambda: idx.read_folder(path.parent, name=name)
    raise UserError(
        f"{path} is no data set that is known here: not a table ({', '.join(table.ENDINGS)}), not an IDX file, "
        "not a folder of images and not a tar of one"
    )


def _pictures(path: Path, name: str, input: Input | None, memory_limit: int | None) -> Dataset:
    """In memory, and kept for the next command, or on disk if they are many; of CIFAR-10's own batches too."""
    if cifar.holds_batches(path):
        classes = NAMED["cifar10"].classes
        return cache.cached(path, lambda: cifar.read(path, name=name, classes=classes))
    if path.is_dir():
        listing = image_files.list_folder(path)
        limit = half_of_memory() if memory_limit is None else memory_limit
        if listing.nbytes(input) > limit:
            return listing.dataset(name, input)
    form = "" if input is None or input.size is None else f"\0{input.size} {input.channels} {input.fit}"
    return cache.cached(path, lambda: image_folder.read(path, name=name, input=input), form=form)


def half_of_memory() -> int:
    """Half the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _not_found(dataset: str) -> str:
    known = [*NAMED, *EMBEDDED, "uniform-500x20"]
    nearest = difflib.get_close_matches(dataset.lower(), known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "check the spelling or the path"
    return f"--dataset {dataset!r} is neither a file or folder nor a known set ({', '.join(known)}); {hint}"
