"""The documents' parameter names, order, shapes and seeded weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jaxnn import recipes
from jaxnn.data import UserError
from jaxnn.recipe import FashionMLP, LeNet, MnistMLP
from torchref import models

_LENET = "conv1.weight conv1.bias conv2.weight conv2.bias fc1.weight fc1.bias fc2.weight fc2.bias fc3.weight fc3.bias"
_TABULAR = "linear1.weight linear1.bias linear2.weight linear2.bias output.weight output.bias"
_BATCH_NORM = (
    "normalize.weight normalize.bias normalize.running_mean normalize.running_var normalize.num_batches_tracked"
)

# recipe, Dataset.input_shape, outputs, state_dict keys of the document's class, its number of parameters
CASES = (
    (
        "mnist-mlp",
        (28, 28, 1),
        10,
        "fc1.weight fc1.bias fc2.weight fc2.bias fc3.weight fc3.bias fc4.weight fc4.bias",
        59_210,
    ),
    ("tabular-mlp", (20,), 3, _TABULAR, 412),
    ("breast-cancer", (30,), 2, _TABULAR, 533),
    ("fashion-mlp", (28, 28, 1), 10, "linear1.weight output.weight", 101_632),
    ("fashion-mlp-bn", (28, 28, 1), 10, f"{_BATCH_NORM} linear1.weight output.weight", 101_634),
    (
        "fashion-mlp-512",
        (28, 28, 1),
        10,
        " ".join(f"linear_relu_stack.{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")),
        669_706,
    ),
    ("lenet", (32, 32, 1), 10, _LENET, 61_706),
    ("lenet-3x3", (32, 32, 1), 10, _LENET, 81_194),
    ("cifar-cnn", (32, 32, 3), 10, _LENET, 62_006),
)


@pytest.mark.parametrize(("name", "input_shape", "outputs", "keys", "parameters"), CASES, ids=[c[0] for c in CASES])
def test_names_sizes_and_output(
    name: str, input_shape: tuple[int, ...], outputs: int, keys: str, parameters: int
) -> None:
    model = models.build(recipes.get(name).model, input_shape=input_shape, outputs=outputs)
    assert list(model.state_dict()) == keys.split()
    assert sum(p.numel() for p in model.parameters()) == parameters
    shape = input_shape if len(input_shape) == 1 else (input_shape[2], *input_shape[:2])
    assert model(torch.rand(4, *shape)).shape == (4, outputs)


def _document_lenet(kernel_size: int, flattened: int) -> list[nn.Module]:
    return [
        nn.Conv2d(1, 6, kernel_size),
        nn.Conv2d(6, 16, kernel_size),
        nn.Linear(flattened, 120),
        nn.Linear(120, 84),
        nn.Linear(84, 10),
    ]


@pytest.mark.parametrize(("kernel_size", "flattened"), [(5, 400), (3, 576)])
def test_seeded_lenet_is_the_documents(kernel_size: int, flattened: int) -> None:
    torch.manual_seed(420)
    conv1, conv2, fc1, fc2, fc3 = _document_lenet(kernel_size, flattened)
    images = torch.rand(2, 1, 32, 32)
    torch.manual_seed(420)
    model = models.build(LeNet(kernel_size=kernel_size), input_shape=(32, 32, 1), outputs=10)
    x = F.max_pool2d(F.relu(conv1(images)), (2, 2))
    x = F.max_pool2d(F.relu(conv2(x)), 2)
    x = x.view(-1, flattened)
    assert torch.equal(model(images), fc3(F.relu(fc2(F.relu(fc1(x))))))


def test_seeded_mlp_is_the_documents() -> None:
    torch.manual_seed(420)
    layers = [nn.Linear(784, 64), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)]
    images = torch.rand(2, 1, 28, 28)
    torch.manual_seed(420)
    model = models.build(MnistMLP(), input_shape=(28, 28, 1), outputs=10)
    x = images.view(-1, 784)
    for layer in layers[:-1]:
        x = F.relu(layer(x))
    assert torch.equal(model(images), F.log_softmax(layers[-1](x), dim=1))


def test_dropout_only_in_training_mode() -> None:
    model = models.build(MnistMLP(dropout=0.5), input_shape=(4, 4, 1), outputs=3)
    images = torch.rand(2, 1, 4, 4)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("spec", "input_shape", "outputs", "says"),
    [
        (LeNet(), (20,), 3, "20 columns"),
        (LeNet(), (12, 12, 1), 3, "too small"),
        (FashionMLP(batch_norm=True), (20,), 3, "batch_norm"),
    ],
)
def test_misfits_are_refused(spec: LeNet | FashionMLP, input_shape: tuple[int, ...], outputs: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        models.build(spec, input_shape=input_shape, outputs=outputs)
