"""torchvision's VGG networks, written out: importing torchvision takes longer than PyTorch itself."""

import torch
from torch import nn

from jaxnn import recipe

_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """features: 3x3 convolutions with ReLU and max-pools; avgpool to 7x7; classifier: three layers with dropout."""

    def __init__(self, spec: recipe.VGG, *, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        spec.require_input(input_shape)
        features: list[nn.Module] = []
        channels = input_shape[-1]
        for width, convolutions in zip(_WIDTHS, spec.layers, strict=True):
            for _ in range(convolutions):
                features += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(spec.dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(spec.dropout),
            nn.Linear(4096, outputs),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
