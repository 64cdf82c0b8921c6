"""The Fashion-MNIST network: one hidden layer without biases, optionally behind a BatchNorm."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from jaxnn import recipe


class FashionMLP(nn.Module):
    """normalize (optional), linear1 with ReLU, output; log_softmax."""

    def __init__(self, spec: recipe.FashionMLP, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        spec.require_input(input_shape)
        self.normalize = nn.BatchNorm2d(input_shape[-1]) if spec.batch_norm else None
        self.linear1 = nn.Linear(math.prod(input_shape), spec.hidden, bias=False)
        self.output = nn.Linear(spec.hidden, outputs, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.normalize is not None:
            x = self.normalize(x)
        x = torch.relu(self.linear1(x.flatten(1)))
        return F.log_softmax(self.output(x), dim=1)
