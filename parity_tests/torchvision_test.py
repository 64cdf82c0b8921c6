"""torchvision's own networks against jaxnn's and torchref's: seeded weights, layers, gradients, the document's step.

Where torchvision's compiled operators do not fit the installed PyTorch they do not load; these networks need none.
"""

import dataclasses
import itertools
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import torchref.models
from jaxnn import models, optim, parity, recipe, recipes
from jaxnn.architecture import printed
from jaxnn.interop.state_dict import rules, state_dict, to_torch
from jaxnn.torch_random import TorchGenerator
from torchref.precision import default_dtype

slow = pytest.mark.slow
ALL = ["resnet18", pytest.param("resnet34", marks=slow), "resnet50", pytest.param("vgg16", marks=slow)]


@pytest.fixture(scope="module")
def original() -> Callable[[str], torch.nn.Module]:
    """torchvision's network of a name, drawn from a seed in float32."""
    try:
        import torchvision
    except RuntimeError:  # it describes operators that its library has not registered
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")
        import torchvision

    def build(name: str) -> torch.nn.Module:
        with default_dtype("float32"):
            torch.manual_seed(3)
            return getattr(torchvision.models, name)()

    return build


def port(name: str, size: int, **changes: Any) -> Any:
    model = recipes.get(name).replace(**changes).model
    return models.build(model, input_shape=(size, size, 3), outputs=1000, rngs=TorchGenerator(3))


@pytest.mark.parametrize("name", ALL)
def test_both_sides_draw_torchvision_s_weights(name: str, original: Callable[[str], torch.nn.Module]) -> None:
    expected = {key: value.numpy() for key, value in original(name).state_dict().items()}
    with default_dtype("float32"):
        torch.manual_seed(3)
        mirror = torchref.models.build(recipes.get(name).model, input_shape=(64, 64, 3), outputs=1000)
    theirs = {key: value.numpy() for key, value in mirror.state_dict().items()}
    for found in (theirs, state_dict(port(name, 64))):
        assert list(found) == list(expected)
        assert [key for key, value in expected.items() if not np.array_equal(found[key], value)] == []


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16"])
def test_the_printed_network_is_torchvision_s(name: str, original: Callable[[str], torch.nn.Module]) -> None:
    """But for ``inplace=True``, which means nothing in JAX, and BatchNorm's bias, which older PyTorch has not."""
    with torch.device("meta"):
        expected = repr(original(name)).replace("inplace=True", "")
    found = []

    def build() -> None:
        spec = recipes.get(name).model
        found.append(printed(models.build(spec, input_shape=(64, 64, 3), outputs=1000, rngs=nnx.Rngs(0))))

    jax.eval_shape(build)
    assert found[0].replace("bias=True, t", "t") == expected.replace("bias=True, t", "t")


def compare(
    name: str,
    original: Callable[[str], torch.nn.Module],
    *,
    size: int = 64,
    batch: int = 2,
    changes: dict[str, Any] | None = None,
    **options: Any,
) -> parity.Report:
    random = np.random.default_rng(0)
    inputs, labels = random.random((batch, 3, size, size)), random.random((batch, 1000))

    def loss(prediction: Any, labels: Any) -> Any:
        return (prediction - labels).sum()

    return parity.compare(
        original(name), port(name, size, **changes or {}), (inputs, labels), loss=(loss, loss), **options
    )


@pytest.mark.parametrize(
    ("name", "train"),
    [
        pytest.param("resnet18", True, id="resnet18-training"),
        *(  # resnet18 in evaluation: other sizes of it, below
            pytest.param(name, train, marks=slow, id=f"{name}-{'training' if train else 'evaluation'}")
            for name, train in [("resnet18", False), *itertools.product(("resnet34", "resnet50"), (True, False))]
        ),
    ],
)
def test_layers_gradients_and_statistics(name: str, train: bool, original: Callable[[str], torch.nn.Module]) -> None:
    # The last stage has 4 pixels an image; statistics of few values amplify rounding, the more the deeper the network.
    report = compare(name, original, batch=2 if name == "resnet18" else 8, train=train)
    assert report.ok, report.table()


@slow
@pytest.mark.parametrize(("size", "batch"), [(32, 2), (64, 1), (70, 1)])
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_vgg16(size: int, batch: int, train: bool, original: Callable[[str], torch.nn.Module]) -> None:
    report = compare("vgg16", original, size=size, batch=batch, train=train)
    assert report.ok, report.table()


@pytest.mark.parametrize("size", [1, *(pytest.param(size, marks=slow) for size in (33, 97))])
def test_any_size_of_picture(size: int, original: Callable[[str], torch.nn.Module]) -> None:
    report = compare("resnet18", original, size=size, train=False)
    assert report.ok, report.table()


@slow
def test_the_document_s_step(original: Callable[[str], torch.nn.Module]) -> None:
    """(prediction - labels).sum() has no minimum, so that training explodes; PyTorch's own band is the measure."""
    report = compare("resnet18", original, batch=1, optimizer=("sgd", {"lr": 1e-2, "momentum": 0.9}), steps=20)
    assert report.ok, report.table()
    assert {"optimizer", "trajectory"} <= {entry.level for entry in report.entries}


@slow
@pytest.mark.parametrize("size", [64])
def test_three_of_the_document_s_steps_of_vgg16(size: int, original: Callable[[str], torch.nn.Module]) -> None:
    """One run after another: 138 million parameters in float64, with gradients and momentum, are 3.3 GB each.

    Without dropout, whose masks the other tests of vgg16 share; the band: PyTorch with all weights one ulp up.
    """
    random = np.random.default_rng(0)
    inputs, labels = random.random((1, 3, size, size)), random.random((1, 1000))
    expected = _in_torch(original("vgg16"), inputs, labels)
    moved = _in_torch(original("vgg16"), inputs, labels, factor=1 + 2.0**-52)
    found = _in_jax(size, inputs, labels)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = np.abs(value).max()
        error, band = (np.abs(other[key] - value).max() / scale for other in (found, moved))
        assert error <= max(10 * band, 1e-12), (key, error, band)
    changed = expected["features.0.weight"] - original("vgg16").state_dict()["features.0.weight"].numpy()
    assert np.abs(changed).max() > 1e-3  # it has been trained


def _in_torch(network: Any, inputs: np.ndarray, labels: np.ndarray, *, factor: float = 1.0) -> dict[str, np.ndarray]:
    """The parameters and losses of three steps."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (network(torch.tensor(inputs)) - torch.tensor(labels)).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": np.array(losses)} | {key: value.detach().numpy() for key, value in network.named_parameters()}


def _in_jax(size: int, inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    spec = dataclasses.replace(recipes.get("vgg16").model, dropout=0.0)
    shape = (size, size, 3)
    network = models.build(spec, input_shape=shape, outputs=1000, rngs=TorchGenerator(3), param_dtype=jnp.float64)
    names = rules(network)
    graph, params, rest = nnx.split(network, nnx.Param, ...)
    del network
    rule = optim.build(recipe.Optimizer(learning_rate=1e-2, momentum=0.9))
    x, y = jnp.asarray(inputs.transpose(0, 2, 3, 1)), jnp.asarray(labels)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, scalars: Any) -> Any:
        loss, gradients = jax.value_and_grad(lambda params: (nnx.merge(graph, params, rest)(x) - y).sum())(params)
        updates, state = rule.update(gradients, state, params, scalars)
        return jax.tree.map(jnp.add, params, updates), state, loss

    params = nnx.to_pure_dict(params)
    state = rule.init(params)
    losses = []
    for number in range(3):
        scalars = {name: value[0] for name, value in rule.scalars(number, {"learning_rate": np.array([1e-2])}).items()}
        params, state, loss = step(params, state, scalars)
        losses.append(float(loss))
    return {"losses": np.array(losses)} | to_torch(names, params)


@pytest.mark.parametrize("moved", [pytest.param(False, marks=slow), True], ids=["as it is", "a planted fault"])
def test_a_stride_in_another_place_is_caught(moved: bool, original: Callable[[str], torch.nn.Module]) -> None:
    """The bottleneck of the paper has its stride in the first convolution, torchvision's in the second."""
    network: Any = original("resnet50")
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        del stage[1:]  # one block a stage, which has it all
    if moved:
        for stage in (network.layer2, network.layer3, network.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    changes = {"model.layers": (1, 1, 1, 1)}
    assert compare("resnet50", lambda name: network, train=False, changes=changes).ok != moved
