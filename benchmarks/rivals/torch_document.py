"""PyTorch as the documents wrote it: a Dataset of PIL images, a DataLoader in the main process, their loops.

torchvision's MNIST, CIFAR10, ToTensor and Normalize are written out, since they are a few lines and it need not be
installed. The documents that print a running loss take it off the device by ``.item()`` where they do.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as MapStyle

from jaxnn.data import Dataset, Split
from jaxnn.recipe import Input, Recipe
from torchref import precision, state

from .prepared import Prepared
from .torch_backend import parameters_of, wait


class Style(NamedTuple):
    """What a document's loop does: how often it calls ``loss.item()``, and whether it counts correct predictions.

    ``loads`` False: it trains on one tensor of all examples, without a DataLoader.
    """

    item_every: int = 0
    counts: bool = False
    loads: bool = True


STYLES = {
    "mnist-mlp": Style(),
    "tabular-mlp": Style(loads=False),
    "fashion-mlp": Style(counts=True),
    "fashion-mlp-bn": Style(counts=True),
    "fashion-mlp-512": Style(item_every=100),
    "cifar-cnn": Style(item_every=1),
}


class Images(MapStyle[tuple[Tensor, int]]):
    """torchvision.datasets.MNIST or CIFAR10 with ToTensor and, if ``input`` asks for it, Normalize."""

    def __init__(self, split: Split, input: Input) -> None:
        grey = split.inputs.shape[-1] == 1
        self.data = split.inputs[..., 0] if grey else split.inputs
        self.targets = split.labels.tolist()
        self.transforms: list[Callable[[Any], Tensor]] = [_to_tensor]
        if (input.mean, input.std) != (0.0, 1.0):
            channels = split.inputs.shape[-1]
            self.transforms.append(lambda image: _normalize(image, [input.mean] * channels, [input.std] * channels))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: Any = Image.fromarray(self.data[index])
        for transform in self.transforms:
            image = transform(image)
        return image, self.targets[index]


def prepare(recipe: Recipe, dataset: Dataset) -> Prepared:
    """The document's epochs, one after the other, without partial batches."""
    style = STYLES.get(recipe.name, Style())
    device = precision.device()
    run_state = state.start(recipe, dataset, device, state.plan(recipe, len(dataset.train)))
    torch.set_rng_state(run_state.epoch_rng)
    net, optimizer, criterion = run_state.model, run_state.optimizer, run_state.loss
    batches = _batches(recipe, dataset, style, device)
    seen = samples = 0
    running_loss: Any = 0.0
    correct: Any = 0

    def run(steps: int) -> np.ndarray:
        nonlocal seen, running_loss, correct, samples
        values = []
        with precision.default_dtype(recipe.precision):
            for _ in range(steps):
                x, y = next(batches)
                optimizer.zero_grad()
                outputs = net(x)
                loss = criterion(outputs, y)
                loss.backward()
                optimizer.step()
                seen += 1
                if style.item_every and seen % style.item_every == 0:
                    running_loss += loss.item()
                if style.counts:
                    correct += torch.sum(torch.max(outputs, 1)[1] == y)
                    samples += len(y)
                values.append(loss.detach())
        wait(device)
        return torch.stack(values).cpu().numpy()

    return Prepared(run, lambda: parameters_of(net))


def _batches(recipe: Recipe, dataset: Dataset, style: Style, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    split = dataset.train
    if dataset.is_images:
        examples: Any = Images(split, recipe.input)
    else:
        inputs = torch.tensor(split.inputs, dtype=precision.dtype(recipe.precision))
        examples = TensorDataset(inputs, torch.tensor(split.labels, dtype=torch.int64))
        if not style.loads and recipe.batch_size is None:
            x, y = (tensor.to(device) for tensor in examples.tensors)
            while True:
                yield x, y
    size = min(recipe.batch_size or len(split), len(split))
    loader: Any = DataLoader(examples, batch_size=size, shuffle=recipe.shuffle, drop_last=True)
    while True:
        for x, y in loader:
            yield x.to(device), y.to(device)


def _to_tensor(picture: Image.Image) -> Tensor:
    """torchvision.transforms.ToTensor of an 8-bit image."""
    image = torch.from_numpy(np.array(picture, np.uint8, copy=True))
    image = image.view(picture.size[1], picture.size[0], len(picture.getbands()))
    return image.permute((2, 0, 1)).contiguous().to(dtype=torch.get_default_dtype()).div(255)


def _normalize(image: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """torchvision.transforms.Normalize."""
    image = image.clone()
    means, deviations = (torch.as_tensor(values, dtype=image.dtype).view(-1, 1, 1) for values in (mean, std))
    return image.sub_(means).div_(deviations)
