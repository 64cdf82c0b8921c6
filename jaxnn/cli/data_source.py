"""What `jaxnn data check|show|pack` read: any set, named or not, and how."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxnn import data
from jaxnn.data import Dataset
from jaxnn.data.table import Header
from jaxnn.errors import UserError
from jaxnn.recipe import Input


@dataclass(frozen=True)
class Source:
    dataset: tyro.conf.Positional[str]
    """A named set, or the path of a CSV or TSV file, a folder or tar of images, a packed folder, or IDX files."""
    data_dir: Path | None = None
    """The only place to search for a named set."""
    image_size: int | None = None
    """Resize all images, of any size and shape, to so many pixels each way."""
    label: str | None = None
    """The class column of a table, by name or number (default: the last)."""
    header: Header = "auto"
    """Whether the first line of a table names its columns."""

    def load(self) -> Dataset:
        size = size_of(self.image_size)
        found = data.load(self.dataset, data_dir=self.data_dir, label=self.label, header=self.header, input=size)
        if size is None:
            return found
        if not found.is_images:
            raise UserError(f"--image-size is for images, but {found.name} is a table; leave it out")
        return data.prepare(found, size)


def size_of(image_size: int | None) -> Input | None:
    """The input that --image-size asks for."""
    if image_size is not None and image_size < 1:
        raise UserError(f"--image-size must be at least 1 pixel, but it is {image_size}")
    return None if image_size is None else Input(size=image_size)
