"""Data sets as NumPy arrays: named ones, and files of the user's own."""

from jaxnn.data import augment, pictures
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.download import fetch
from jaxnn.data.fitting import prepare
from jaxnn.data.sources import depends_on_seed, is_name, load, load_for
from jaxnn.data.survey import check, inventory
from jaxnn.errors import UserError

__all__ = [
    "Dataset",
    "Split",
    "UserError",
    "augment",
    "check",
    "depends_on_seed",
    "fetch",
    "inventory",
    "is_name",
    "load",
    "load_for",
    "pictures",
    "prepare",
]
