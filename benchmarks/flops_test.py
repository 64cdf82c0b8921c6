"""The count of a step's operations equals the one by hand, whatever method computes the convolutions."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jaxnn import recipes

from . import flops
from .cases import Case, dataset_of, recipe_of

_LENET_FORWARD = (28 * 28 * 25 * 1 * 6, 10 * 10 * 25 * 6 * 16, 400 * 120, 120 * 84, 84 * 10)
_MLP_FORWARD = (784 * 64, 64 * 64, 64 * 64, 64 * 10)


@pytest.mark.parametrize(
    ("name", "forward"), [("mnist-mlp", _MLP_FORWARD), ("lenet", _LENET_FORWARD)], ids=["MLP", "LeNet"]
)
def test_a_step(name: str, forward: tuple[int, ...]) -> None:
    recipe = recipe_of(Case(name, 6), "float32")
    dataset = dataset_of(recipe)
    few = dataclasses.replace(dataset.train, inputs=dataset.train.inputs[:60], labels=dataset.train.labels[:60])
    # Forward, the weights' gradients, and the inputs' gradients of all layers but the first.
    products = 3 * sum(forward) - forward[0]
    assert flops.of_step(recipe, dataclasses.replace(dataset, train=few)) == 2 * 6 * products
    assert flops.of_shapes(recipe, dataset.input_shape, 10)[1] == 2 * 6 * products


# The counts that torchvision states of its networks with 1,000 outputs: parameters, and products of a forward pass.
@pytest.mark.parametrize(
    ("name", "parameters", "forward", "first"),
    [("resnet18", 11_689_512, 1.81e9, 0.118e9), ("vgg16", 138_357_544, 15.47e9, 0.087e9)],
)
def test_by_shapes_alone(name: str, parameters: int, forward: float, first: float) -> None:
    counted, operations = flops.of_shapes(recipes.get(name).replace(batch_size=2), (224, 224, 3), 1000)
    assert counted == parameters
    assert 0.9 < operations / (2 * 2 * (3 * forward - first)) < 1  # torchvision counts padding, too


def test_products_with_padding_and_holes_do_not_count() -> None:
    def same(x: jax.Array) -> jax.Array:
        return jax.lax.conv(x, jnp.ones((1, 1, 1, 3)), (1, 1), "SAME")

    assert flops.count(jax.make_jaxpr(same)(jnp.ones((1, 1, 1, 5))).jaxpr) == 2 * (3 * 5 - 2)

    def transposed(x: jax.Array) -> jax.Array:
        return jax.lax.conv_transpose(x, jnp.ones((2, 1, 1)), (2,), "VALID", dimension_numbers=("NHC", "HIO", "NHC"))

    assert flops.count(jax.make_jaxpr(transposed)(jnp.ones((1, 4, 1))).jaxpr) == 2 * 4 * 2


def test_loops() -> None:
    def three_times(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda carry, _: (carry @ x, None), x, length=3)[0]

    assert flops.count(jax.make_jaxpr(three_times)(jnp.ones((2, 2))).jaxpr) == 3 * 2 * 8
