"""The network and the data of the lessons on one step: 500 rows of 20 numbers, three classes at random."""

import torch
from torch import Tensor

from jaxnn import recipe
from torchref.models import TabularMLP


def problem(seed: int) -> tuple[TabularMLP, Tensor, Tensor]:
    """Network, inputs (500, 20) and labels (500,); data and network each drawn from the seed, as the document does."""
    torch.manual_seed(seed)
    inputs = torch.rand((500, 20)) * 100
    labels = torch.randint(low=0, high=3, size=(500, 1))
    torch.manual_seed(seed)
    net = TabularMLP(recipe.TabularMLP(), input_shape=(20,), outputs=3)
    return net.double(), inputs.double(), labels.reshape(500)
