"""The networks of the recipes, one architecture a file, with the parameter names of the documents.

``functional``: the layers in whose place PyTorch's class calls functions, so that its ``print(net)`` has none of them.
"""

import jax.numpy as jnp
from flax import nnx

from jaxnn import recipe
from jaxnn.models.fashion_mlp import FashionMLP as FashionMLP
from jaxnn.models.lenet import LeNet as LeNet
from jaxnn.models.mnist_mlp import MnistMLP as MnistMLP
from jaxnn.models.relu_stack import ReluStack as ReluStack
from jaxnn.models.resnet import ResNet as ResNet
from jaxnn.models.tabular_mlp import TabularMLP as TabularMLP
from jaxnn.models.vgg import VGG as VGG
from jaxnn.nn.initializers import Rngs

_CLASSES = {
    recipe.MnistMLP: MnistMLP,
    recipe.TabularMLP: TabularMLP,
    recipe.FashionMLP: FashionMLP,
    recipe.ReluStack: ReluStack,
    recipe.LeNet: LeNet,
    recipe.ResNet: ResNet,
    recipe.VGG: VGG,
}


def build(
    spec: recipe.Model,
    *,
    input_shape: tuple[int, ...],
    outputs: int,
    rngs: Rngs,
    param_dtype: jnp.dtype | type = jnp.float32,
) -> nnx.Module:
    """The network of ``spec`` for inputs of (height, width, channels) or (features,), in training mode.

    With a TorchGenerator as ``rngs`` the weights are those that PyTorch draws from the same seed.
    """
    return _CLASSES[type(spec)](spec, input_shape=input_shape, outputs=outputs, rngs=rngs, param_dtype=param_dtype)
