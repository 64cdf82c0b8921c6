"""The MNIST network: fully connected ReLU layers with log-probabilities out."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from jaxnn import recipe


class MnistMLP(nn.Module):
    """fc1, fc2, ...: ReLU (and dropout) after each but the last; log_softmax."""

    def __init__(self, spec: recipe.MnistMLP, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.dropout = spec.dropout
        self.depth = len(spec.hidden) + 1
        widths = (math.prod(input_shape), *spec.hidden, outputs)
        for number, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
            self.add_module(f"fc{number}", nn.Linear(fan_in, fan_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for number in range(1, self.depth):
            x = F.relu(getattr(self, f"fc{number}")(x))
            if self.dropout > 0:
                x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(getattr(self, f"fc{self.depth}")(x), dim=1)
