"""torchvision's residual networks: ResNet-18, 34 (basic blocks), 50 (bottlenecks) and any other depth."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d
from jaxnn.nn.initializers import Rngs, kaiming_normal, to_conv_kernel

_STEM = 64
_Images = Float[Array, "batch height width channel"]
_Features = Float[Array, "batch height_out width_out channel_out"]


class ResNet(nnx.Module):
    """conv1, bn1, max-pool; layer1 to layer4, each half as large and twice as wide as the one before; average; fc."""

    functional = ("flatten",)

    def __init__(
        self,
        spec: recipe.ResNet,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        spec.require_input(input_shape)
        block = BasicBlock if spec.block == "basic" else Bottleneck
        parts: dict[str, Any] = {"rngs": rngs, "param_dtype": param_dtype}
        channels = _STEM

        def stage(width: int, blocks: int, stride: int) -> nnx.Sequential:
            nonlocal channels
            layers = []
            for number in range(blocks):
                layers.append(block(channels, width, stride if number == 0 else 1, **parts))
                channels = width * block.expansion
            return nnx.Sequential(*layers)

        self.conv1 = Conv2d(input_shape[-1], _STEM, 7, stride=2, padding=3, bias=False, **parts)
        self.bn1 = BatchNorm2d(_STEM, param_dtype=param_dtype)
        self.relu = jax.nn.relu
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, spec.layers[0], stride=1)
        self.layer2 = stage(128, spec.layers[1], stride=2)
        self.layer3 = stage(256, spec.layers[2], stride=2)
        self.layer4 = stage(512, spec.layers[3], stride=2)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.flatten = Flatten()
        self.fc = Linear(channels, outputs, **parts)
        for _, module in nnx.iter_modules(self):
            if isinstance(module, Conv2d):  # drawn anew, after all layers have drawn their default
                height, width, fan_in, fan_out = module.kernel.shape
                shape, fan = (fan_out, fan_in, height, width), fan_out * height * width
                module.kernel[...] = to_conv_kernel(kaiming_normal(rngs, shape, fan=fan, dtype=param_dtype))

    def __call__(self, x: _Images) -> Float[Array, "batch outputs"]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions, added to the input, which ``downsample`` fits to them where sizes differ."""

    expansion = 1

    def __init__(
        self, channels: int, width: int, stride: int, *, rngs: Rngs, param_dtype: jnp.dtype | type = jnp.float32
    ) -> None:
        parts: dict[str, Any] = {"bias": False, "rngs": rngs, "param_dtype": param_dtype}
        self.conv1 = Conv2d(channels, width, 3, stride=stride, padding=1, **parts)
        self.bn1 = BatchNorm2d(width, param_dtype=param_dtype)
        self.relu = jax.nn.relu
        self.conv2 = Conv2d(width, width, 3, padding=1, **parts)
        self.bn2 = BatchNorm2d(width, param_dtype=param_dtype)
        self.downsample = _downsample(channels, width, stride, **parts)

    def __call__(self, x: _Images) -> _Features:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nnx.Module):
    """1x1 to ``width`` channels, 3x3 (with the stride, as torchvision has it), 1x1 to four times as many."""

    expansion = 4

    def __init__(
        self, channels: int, width: int, stride: int, *, rngs: Rngs, param_dtype: jnp.dtype | type = jnp.float32
    ) -> None:
        wide = width * self.expansion
        parts: dict[str, Any] = {"bias": False, "rngs": rngs, "param_dtype": param_dtype}
        self.conv1 = Conv2d(channels, width, 1, **parts)
        self.bn1 = BatchNorm2d(width, param_dtype=param_dtype)
        self.conv2 = Conv2d(width, width, 3, stride=stride, padding=1, **parts)
        self.bn2 = BatchNorm2d(width, param_dtype=param_dtype)
        self.conv3 = Conv2d(width, wide, 1, **parts)
        self.bn3 = BatchNorm2d(wide, param_dtype=param_dtype)
        self.relu = jax.nn.relu
        self.downsample = _downsample(channels, wide, stride, **parts)

    def __call__(self, x: _Images) -> _Features:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _downsample(channels: int, width: int, stride: int, **parts: Any) -> nnx.Sequential | None:
    """What brings a block's input to its output's shape; None where it has it already."""
    if stride == 1 and channels == width:
        return None
    norm = BatchNorm2d(width, param_dtype=parts["param_dtype"])
    return nnx.Sequential(Conv2d(channels, width, 1, stride=stride, **parts), norm)
