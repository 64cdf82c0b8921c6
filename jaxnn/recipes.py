"""The named presets: one for each thing the five documents train."""

import dataclasses
import difflib
from typing import NamedTuple

from jaxnn.errors import UserError
from jaxnn.recipe import (
    VGG,
    FashionMLP,
    Input,
    LeNet,
    Loss,
    MnistMLP,
    Optimizer,
    Recipe,
    ReluStack,
    ResNet,
    TabularMLP,
)


class Preset(NamedTuple):
    """A recipe, what it is, and the test accuracy to expect of it on its own data set."""

    recipe: Recipe
    about: str
    expected: str


_ADAM = Optimizer(name="adam", learning_rate=1e-3)
_MOMENTUM = Optimizer(learning_rate=0.1, momentum=0.9)
_FASHION_SGD = Optimizer(learning_rate=0.15)
_GREY_28 = Input(size=28, channels=1)
_GREY_32 = Input(size=32, channels=1, fit="pad")
_RGB_32 = Input(size=32, channels=3, fit="pad", mean=0.5, std=0.5)
# What torchvision's pretrained weights expect.
_IMAGENET = Input(channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def _torchvision(name: str, model: ResNet | VGG, about: str, *, size: int) -> Preset:
    """A network of torchvision's for pictures of the user's own."""
    recipe = Recipe(
        name=name,
        dataset=None,
        input=dataclasses.replace(_IMAGENET, size=size),
        model=model,
        optimizer=Optimizer(learning_rate=1e-2, momentum=0.9),
        batch_size=32,
        eval_batch_size=100,
        epochs=5,
    )
    return Preset(recipe, f"torchvision's {about}, SGD 1e-2 with momentum 0.9; --dataset FOLDER", "depends on the data")


_PRESETS = (
    Preset(
        Recipe(
            name="mnist-mlp",
            dataset="mnist",
            input=_GREY_28,
            model=MnistMLP(),
            loss=Loss(name="nll"),
            optimizer=_ADAM,
            batch_size=10,
            epochs=3,
        ),
        "784-64-64-64-10 ReLU, log-softmax; NLL, Adam 1e-3, batch 10, 3 epochs",
        "0.960-0.975 (digits: 0.95-0.98)",
    ),
    Preset(
        Recipe(
            name="tabular-mlp",
            dataset="uniform-500x20",
            model=TabularMLP(),
            optimizer=_MOMENTUM,
            shuffle=False,
            steps=100,
        ),
        "20-13 ReLU-8 sigmoid-3; cross-entropy, SGD 0.1 with momentum 0.9, full batch",
        "chance (random labels)",
    ),
    Preset(
        Recipe(
            name="tabular-minibatch",
            dataset="uniform-50000x20",
            model=TabularMLP(),
            optimizer=_MOMENTUM,
            batch_size=4000,
            epochs=4,
        ),
        "the same network on 50,000 rows, batch 4000, 4 epochs",
        "chance (random labels)",
    ),
    Preset(
        Recipe(
            name="breast-cancer",
            dataset="breast-cancer",
            input=Input(standardize=True),
            model=TabularMLP(),
            optimizer=Optimizer(learning_rate=0.01, momentum=0.9),
            batch_size=5,
            epochs=10,
        ),
        "30-13 ReLU-8 sigmoid-2; cross-entropy, SGD 0.01 with momentum 0.9, batch 5, 10 epochs",
        "0.94-0.99",
    ),
    Preset(
        Recipe(
            name="csv",
            dataset=None,
            model=TabularMLP(),
            optimizer=_MOMENTUM,
            batch_size=1000,
            epochs=10,
        ),
        "the same network on any CSV or TSV file; --dataset FILE, class in the last (or --label) column",
        "depends on the file",
    ),
    Preset(
        Recipe(
            name="fashion-mlp",
            dataset="fashion_mnist",
            input=_GREY_28,
            model=FashionMLP(),
            loss=Loss(name="nll"),
            optimizer=_FASHION_SGD,
            batch_size=128,
            epochs=10,
            log_every=125,
        ),
        "784-128-10 without biases, log-softmax; NLL, SGD 0.15, batch 128, 10 epochs",
        "0.86-0.88",
    ),
    Preset(
        Recipe(
            name="fashion-mlp-bn",
            dataset="fashion_mnist",
            input=_GREY_28,
            model=FashionMLP(batch_norm=True),
            loss=Loss(name="nll"),
            optimizer=_FASHION_SGD,
            batch_size=128,
            epochs=10,
            log_every=125,
        ),
        "the same after a BatchNorm of the image",
        "0.870-0.895",
    ),
    Preset(
        Recipe(
            name="fashion-mlp-512",
            dataset="fashion_mnist",
            input=_GREY_28,
            model=ReluStack(),
            optimizer=Optimizer(learning_rate=1e-3),
            batch_size=64,
            shuffle=False,
            epochs=10,
            log_every=100,
        ),
        "784-512-512-10, ReLU after the last layer too; cross-entropy, SGD 1e-3, batch 64 in order, 10 epochs",
        "0.27-0.70 by seed (the last ReLU kills classes)",
    ),
    Preset(
        Recipe(
            name="lenet",
            dataset="mnist",
            input=_GREY_32,
            model=LeNet(),
            loss=Loss(name="mse"),
            optimizer=Optimizer(learning_rate=0.01),
            batch_size=64,
            epochs=2,
        ),
        "conv5x5 6 - conv5x5 16 - 400-120-84-10 on 32x32; MSE against one-hot, SGD 0.01, batch 64, 2 epochs",
        "about 0.38 (MSE and SGD 0.01 learn slowly)",
    ),
    Preset(
        Recipe(
            name="lenet-3x3",
            dataset="mnist",
            input=_GREY_32,
            model=LeNet(kernel_size=3),
            loss=Loss(name="mse"),
            optimizer=Optimizer(learning_rate=0.01),
            batch_size=64,
            epochs=2,
        ),
        "the same with 3x3 convolutions",
        "about 0.24 (likewise)",
    ),
    Preset(
        Recipe(
            name="cifar-cnn",
            dataset="cifar10",
            input=_RGB_32,
            model=LeNet(),
            optimizer=Optimizer(learning_rate=1e-3, momentum=0.9),
            batch_size=4,
            epochs=2,
            log_every=2000,
        ),
        "conv5x5 6 - conv5x5 16 - 400-120-84-10 on RGB in [-1, 1]; cross-entropy, SGD 1e-3 with momentum 0.9, batch 4",
        "0.52-0.56",
    ),
    _torchvision("resnet18", ResNet(), "ResNet-18 on 64x64 pictures; cross-entropy", size=64),
    _torchvision("resnet34", ResNet(layers=(3, 4, 6, 3)), "ResNet-34", size=64),
    _torchvision("resnet50", ResNet(block="bottleneck", layers=(3, 4, 6, 3)), "ResNet-50", size=64),
    _torchvision("vgg16", VGG(), "VGG-16 on 224x224 pictures, dropout 0.5; cross-entropy", size=224),
)

PRESETS: dict[str, Preset] = {preset.recipe.name: preset for preset in _PRESETS}

SMALL = tuple(name for name, preset in PRESETS.items() if not isinstance(preset.recipe.model, ResNet | VGG))
"""The recipes that train in minutes on a CPU: all but torchvision's networks."""

# Small stand-in data sets need more passes to reach what the recipe is meant to show.
_EPOCHS = {("mnist-mlp", "digits"): 20}


def get(name: str, *, dataset: str | None = None) -> Recipe:
    """The preset ``name``, on ``dataset`` in place of its own. Raises UserError with the nearest name."""
    if name not in PRESETS:
        nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"choose from {', '.join(PRESETS)}"
        raise UserError(f"there is no recipe {name!r}; {hint}")
    recipe = PRESETS[name].recipe
    if dataset is None:
        return recipe
    return recipe.replace(dataset=dataset, epochs=_EPOCHS.get((name, dataset), recipe.epochs))
