"""The shapes of a recipe's data, where they are known, without reading or fetching the data."""

import numpy as np

from jaxnn.data import generated, search
from jaxnn.data.dataset import Dataset, Split
from jaxnn.data.embedded import EMBEDDED
from jaxnn.data.fitting import prepare
from jaxnn.data.named import NAMED, canonical
from jaxnn.data.sources import load_for
from jaxnn.recipe import VGG, Recipe, ResNet

# (height, width, channels) or (features,), and the number of classes.
_SHAPES = {
    "mnist": ((28, 28, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
    "cifar10": ((32, 32, 3), 10),
    "digits": ((28, 28, 1), 10),
    "breast-cancer": ((30,), 2),
    "iris": ((4,), 3),
}
_IMAGENET_CLASSES = 1000


def stand_in(recipe: Recipe) -> Dataset:
    """One blank example in the place of the data of ``recipe``, prepared as those would be.

    Only the files of a user's own data are looked at, of a folder of pictures the names alone. ``data_dir`` has to
    hold a named set, as in training. torchvision's networks without data take ImageNet's 1000 classes.

    Raises UserError as ``load_for`` does.
    """
    name = canonical(recipe.dataset or "")
    if recipe.dataset is None and isinstance(recipe.model, ResNet | VGG) and recipe.input.size is not None:
        return _blank(recipe, "ImageNet", (recipe.input.size, recipe.input.size, 3), _IMAGENET_CLASSES)
    if name in NAMED and recipe.data_dir is not None:
        search.find(NAMED[name], recipe.data_dir)
    if name in NAMED or name in EMBEDDED:
        return _blank(recipe, name, *_SHAPES[name])
    if generated.is_name(name):
        return _blank(recipe, name, (generated.shape(name)[1],), len(generated.CLASSES))
    return load_for(recipe, memory_limit=0)


def _blank(recipe: Recipe, name: str, shape: tuple[int, ...], classes: int) -> Dataset:
    part = Split(np.zeros((1, *shape), np.uint8 if len(shape) == 3 else np.float32), np.zeros(1, np.int32))
    names = tuple(map(str, range(classes)))
    return prepare(Dataset(name=name, train=part, test=part, classes=names, source="none"), recipe.input)
