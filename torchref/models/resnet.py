"""torchvision's residual networks, written out: importing torchvision takes longer than PyTorch itself."""

import torch
import torch.nn.functional as F
from torch import nn

from jaxnn import recipe


class ResNet(nn.Module):
    """conv1, bn1, max-pool; layer1 to layer4, each half as large and twice as wide as the one before; average; fc."""

    def __init__(self, spec: recipe.ResNet, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        spec.require_input(input_shape)
        block = BasicBlock if spec.block == "basic" else Bottleneck
        self.conv1 = nn.Conv2d(input_shape[-1], 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64

        def stage(width: int, blocks: int, stride: int) -> nn.Sequential:
            nonlocal channels
            layers = []
            for number in range(blocks):
                layers.append(block(channels, width, stride if number == 0 else 1))
                channels = width * block.expansion
            return nn.Sequential(*layers)

        self.layer1 = stage(64, spec.layers[0], stride=1)
        self.layer2 = stage(128, spec.layers[1], stride=2)
        self.layer3 = stage(256, spec.layers[2], stride=2)
        self.layer4 = stage(512, spec.layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to the input, which ``downsample`` fits to them where sizes differ."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1 to ``width`` channels, 3x3 (with the stride), 1x1 to four times as many."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = _downsample(channels, wide, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def _downsample(channels: int, width: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
