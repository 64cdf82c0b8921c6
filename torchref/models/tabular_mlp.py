"""The network of the tables: two hidden layers, one ReLU and one sigmoid."""

import math

import torch
from torch import nn

from jaxnn import recipe


class TabularMLP(nn.Module):
    """linear1 with ReLU, linear2 with sigmoid, output."""

    def __init__(self, spec: recipe.TabularMLP, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        first, second = spec.hidden
        self.linear1 = nn.Linear(math.prod(input_shape), first)
        self.linear2 = nn.Linear(first, second)
        self.output = nn.Linear(second, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.linear1(x.flatten(1)))
        x = torch.sigmoid(self.linear2(x))
        return self.output(x)
