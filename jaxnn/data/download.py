"""Named sets from the network, by way of tensorflow-datasets."""

import os
from pathlib import Path

from jaxnn.data import cache, search, tfds_source
from jaxnn.data.embedded import EMBEDDED
from jaxnn.data.named import NAMED, Named, Origin, canonical
from jaxnn.data.reachable import is_reachable
from jaxnn.errors import UserError
from jaxnn.files import expanded


def fetch(name: str, *, data_dir: str | os.PathLike[str] | None = None, origin: Origin | None = None) -> Path:
    """Where the named set lies, downloaded first if it is nowhere; ``data_dir``: there, instead of the cache.

    ``origin``: another server with other checksums. Raises UserError if the name has no download, the
    server cannot be reached (within 3 seconds), or sends other bytes than expected.
    """
    named = NAMED.get(canonical(name))
    if named is None:
        where = "comes with scikit-learn" if canonical(name) in EMBEDDED else "has no download"
        raise UserError(f"{name!r} {where}; those to fetch are {', '.join(NAMED)}")
    if data_dir is None:
        found = search.find(named, None)
        return found.where if found else _download(named, origin)
    folder = expanded(data_dir)
    found = next(search.in_folder(named, folder), None)
    return found.where if found else _prepare(named, folder, origin)


def _download(named: Named, origin: Origin | None) -> Path:
    """Prepares the set in tfds' own folder and keeps its arrays in the cache."""
    folder = _prepare(named, tfds_source.root(), origin)
    file = cache.named_file(named.name)
    cache.write(file, tfds_source.read(named, folder))
    return file if file.is_file() else folder


def _prepare(named: Named, folder: Path, origin: Origin | None) -> Path:
    origin = origin or named.origin
    if not is_reachable(origin.base):
        raise UserError(
            f"{named.title} is not on this machine and {origin.base} cannot be reached; put it into a folder as "
            f"{search.layout(named)} and name that with --data-dir or $JAXNN_DATA_DIR, run "
            f"`jaxnn data fetch {named.name}` once with a network, or use --dataset digits, which needs no download"
        )
    return tfds_source.download(named, folder, origin=origin)
