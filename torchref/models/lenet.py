"""LeNet: two blocks of convolution and pooling, then three fully connected layers."""

import torch
import torch.nn.functional as F
from torch import nn

from jaxnn import recipe


class LeNet(nn.Module):
    """conv1 and conv2, each with ReLU and 2x2 max-pool, then fc1, fc2, fc3."""

    def __init__(self, spec: recipe.LeNet, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        features = spec.flat_features(input_shape)
        self.conv1 = nn.Conv2d(input_shape[-1], spec.channels[0], spec.kernel_size)
        self.conv2 = nn.Conv2d(spec.channels[0], spec.channels[1], spec.kernel_size)
        self.fc1 = nn.Linear(features, spec.hidden[0])
        self.fc2 = nn.Linear(spec.hidden[0], spec.hidden[1])
        self.fc3 = nn.Linear(spec.hidden[1], outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(1)  # (batch, channels, rows, columns) -> (batch, features), channels slowest
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
