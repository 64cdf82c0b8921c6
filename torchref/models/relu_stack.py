"""The network of the optimization tutorial, which has a ReLU after its last layer too."""

import itertools
import math

import torch
from torch import nn

from jaxnn import recipe


class ReluStack(nn.Module):
    """linear_relu_stack: Linear and ReLU in turn, so that no score is negative."""

    def __init__(self, spec: recipe.ReluStack, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise((math.prod(input_shape), *spec.hidden, outputs)):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self.linear_relu_stack = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_relu_stack(self.flatten(x))
