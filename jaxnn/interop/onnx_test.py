"""Layers that no recipe has, as ONNX: pooling with borders, in both layouts."""

import pytest

pytest.importorskip("onnx")

import jax
import onnx as onnx_format
from flax import nnx

from jaxnn import nn, recipes
from jaxnn.interop import agreement, onnx
from jaxnn.interop.image_layout import Layout
from jaxnn.trained import Trained


class _Pools(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1, rngs=rngs)
        self.average = nn.AvgPool2d(3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, dilation=2, padding="same", groups=2, rngs=rngs)
        self.maximum = nn.MaxPool2d((3, 2), stride=(2, 1), padding=1, ceil_mode=True)
        self.inner = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
        self.adaptive = nn.AdaptiveAvgPool2d((2, 3))
        self.flatten = nn.Flatten()

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.average(jax.nn.relu(self.conv1(x)))
        x = x + self.maximum(jax.nn.sigmoid(self.conv2(x)))[:, : x.shape[1], : x.shape[2]].mean((1, 2), keepdims=True)
        return self.flatten(self.adaptive(self.inner(x)))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pooling(layout: Layout) -> None:
    recipe = recipes.get("cifar-cnn")
    trained = Trained(recipe, ("a", "b"), (27, 32, 3), model=_Pools())
    file = onnx.convert(trained, layout)
    inputs = agreement.examples(trained, None)
    runners = {"JAX": agreement.jax_runner(trained), "ONNX Runtime": onnx.runner(file, layout)}
    assert agreement.compare(runners, inputs)["JAX - ONNX Runtime"] <= agreement.TOLERANCE
    operators = {node.op_type for node in onnx_format.load_from_string(file).graph.node}
    assert {"AveragePool", "MaxPool", "Conv"} <= operators
