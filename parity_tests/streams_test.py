"""Same seed, same run: what jaxnn draws in NumPy is what torch draws, bit for bit."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import torchref.models
from jaxnn import data, models, recipes, streams
from jaxnn.data.order import batching
from jaxnn.dropout_sites import DropoutSite
from jaxnn.interop.state_dict import state_dict
from jaxnn.torch_random import TorchGenerator

SHAPES = {"uniform-500x20": ((20,), 3), "uniform-50000x20": ((20,), 3), "breast-cancer": ((30,), 2), None: ((4,), 3)}


def _shape(recipe: recipes.Recipe) -> tuple[tuple[int, ...], int]:
    """The input shape and the outputs of a recipe on its own data."""
    if recipe.input.size is None:
        return SHAPES[recipe.dataset]
    return (recipe.input.size, recipe.input.size, recipe.input.channels or 1), 10


@pytest.mark.parametrize("precision", ["float32"], indirect=True)
@pytest.mark.parametrize("seed", [0, 420, 2**32 + 5])
@pytest.mark.parametrize("name", recipes.SMALL)
def test_initial_weights_are_torch_s(name: str, seed: int, precision: str) -> None:
    recipe = recipes.get(name)
    shape, outputs = _shape(recipe)
    torch.manual_seed(seed)
    expected = torchref.models.build(recipe.model, input_shape=shape, outputs=outputs).state_dict()
    found = state_dict(models.build(recipe.model, input_shape=shape, outputs=outputs, rngs=TorchGenerator(seed)))
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value.numpy(), err_msg=key)


@pytest.mark.parametrize("examples", [1, 7, 1000, 60_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_three_epochs_of_batches_are_the_data_loader_s(examples: int, shuffle: bool) -> None:
    torch.manual_seed(420)
    model = torch.nn.Linear(5, 3)  # the weights are drawn first, from the same stream
    loader = DataLoader(TensorDataset(torch.arange(examples)), batch_size=max(examples // 7, 1), shuffle=shuffle)
    stream = streams.TorchStream(420)
    for parameter in model.parameters():
        # in the float64 default dtype torch takes two words for each number
        stream.rngs.bernoulli(tuple(parameter.shape), 0.5)
    for epoch in range(1, 4):
        expected = torch.cat([batch for (batch,) in loader]).numpy()
        np.testing.assert_array_equal(stream.epoch_order(epoch, examples, shuffle=shuffle), expected)


def test_dropout_masks_come_in_torch_s_order() -> None:
    """Two layers, images and vectors, two full batches and a tail, after the epoch's own draws."""
    recipe = recipes.get("mnist-mlp").replace(batch_size=4)
    batches = batching(10, recipe)
    sites = [DropoutSite(("a",), (6, 5, 3), 0.3), DropoutSite(("b",), (7,), 0.5)]
    stream = streams.TorchStream(3)
    stream.epoch_order(1, 10, shuffle=True)
    full, tail = stream.masks(1, batches, sites)
    torch.manual_seed(3)
    list(DataLoader(TensorDataset(torch.arange(10)), batch_size=4, shuffle=True))
    for masks, step, size in ((full, 0, 4), (full, 1, 4), (tail, 0, 2)):
        images = torch.nn.functional.dropout(torch.ones(size, 3, 6, 5), 0.3) != 0
        vectors = torch.nn.functional.dropout(torch.ones(size, 7), 0.5) != 0
        np.testing.assert_array_equal(masks[sites[0]][step], images.permute(0, 2, 3, 1).numpy())
        np.testing.assert_array_equal(masks[sites[1]][step], vectors.numpy())


@pytest.mark.parametrize("precision", ["float32"], indirect=True)
@pytest.mark.parametrize("seed", [0, 420])
def test_generated_data_are_the_document_s(seed: int, precision: str) -> None:
    torch.manual_seed(seed)
    inputs = torch.rand((500, 20), dtype=torch.float32) * 100
    labels = torch.randint(low=0, high=3, size=(500, 1), dtype=torch.float32)
    found = data.load("uniform-500x20", seed=seed).train
    np.testing.assert_array_equal(found.inputs, inputs.numpy())
    np.testing.assert_array_equal(found.labels, labels.numpy()[:, 0])


@pytest.mark.parametrize("rng", ["torch", "jax"])
def test_a_restored_stream_draws_the_same_again(rng: str) -> None:
    stream = streams.build(recipes.get("mnist-mlp").replace(rng=rng))
    stream.epoch_order(1, 50, shuffle=True)
    saved = stream.state()
    order = stream.epoch_order(2, 50, shuffle=True)
    assert sorted(order) == list(range(50))
    stream.restore(saved)
    np.testing.assert_array_equal(stream.epoch_order(2, 50, shuffle=True), order)


def test_a_wrong_seed_is_caught() -> None:
    assert not np.array_equal(TorchGenerator(1).rand(8), TorchGenerator(2).rand(8))
