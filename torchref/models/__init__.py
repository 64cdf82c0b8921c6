"""The documents' architectures in PyTorch, one a file, with the documents' parameter names."""

from torch import nn

from jaxnn import recipe
from torchref.models.fashion_mlp import FashionMLP as FashionMLP
from torchref.models.lenet import LeNet as LeNet
from torchref.models.mnist_mlp import MnistMLP as MnistMLP
from torchref.models.relu_stack import ReluStack as ReluStack
from torchref.models.resnet import ResNet as ResNet
from torchref.models.tabular_mlp import TabularMLP as TabularMLP
from torchref.models.vgg import VGG as VGG

_CLASSES = {
    recipe.MnistMLP: MnistMLP,
    recipe.TabularMLP: TabularMLP,
    recipe.FashionMLP: FashionMLP,
    recipe.ReluStack: ReluStack,
    recipe.LeNet: LeNet,
    recipe.ResNet: ResNet,
    recipe.VGG: VGG,
}


def build(spec: recipe.Model, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The network of ``spec``, in training mode, its float32 weights drawn from torch's default generator.

    ``input_shape``: Dataset.input_shape, (height, width, channels) or (features,). The network takes float
    (batch, channels, height, width) or (batch, features) and gives (batch, outputs). Raises UserError
    if the architecture does not fit.
    """
    return _CLASSES[type(spec)](spec, input_shape=input_shape, outputs=outputs)
