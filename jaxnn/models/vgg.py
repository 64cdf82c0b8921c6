"""torchvision's VGG networks: VGG-16 (D), and 11, 13 and 19 by the number of convolutions in each stage."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d
from jaxnn.nn.initializers import Rngs, kaiming_normal, normal, to_conv_kernel

_WIDTHS = (64, 128, 256, 512, 512)
_SIDE, _HIDDEN = 7, 4096


class VGG(nnx.Module):
    """features: 3x3 convolutions with ReLU and max-pools; avgpool to 7x7; classifier: three layers with dropout."""

    functional = ("flatten",)

    def __init__(
        self,
        spec: recipe.VGG,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        spec.require_input(input_shape)
        parts: dict[str, Any] = {"rngs": rngs, "param_dtype": param_dtype}
        features: list[Any] = []
        channels = input_shape[-1]
        for width, convolutions in zip(_WIDTHS, spec.layers, strict=True):
            for _ in range(convolutions):
                features += [Conv2d(channels, width, 3, padding=1, **parts), jax.nn.relu]
                channels = width
            features.append(MaxPool2d(2))
        self.features = nnx.Sequential(*features)
        self.avgpool = AdaptiveAvgPool2d(_SIDE)
        self.flatten = Flatten()
        self.classifier = nnx.Sequential(
            Linear(channels * _SIDE**2, _HIDDEN, **parts),
            jax.nn.relu,
            Dropout(spec.dropout),
            Linear(_HIDDEN, _HIDDEN, **parts),
            jax.nn.relu,
            Dropout(spec.dropout),
            Linear(_HIDDEN, outputs, **parts),
        )
        for module in (*self.features.layers, *self.classifier.layers):
            _draw_anew(module, rngs, param_dtype)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Float[Array, "batch outputs"]:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def _draw_anew(module: Any, rngs: Rngs, dtype: jnp.dtype | type) -> None:
    """Normal weights and zero biases, drawn after all layers have drawn their default."""
    if isinstance(module, Conv2d):
        height, width, fan_in, fan_out = module.kernel.shape
        shape = (fan_out, fan_in, height, width)
        weight = kaiming_normal(rngs, shape, fan=fan_out * height * width, dtype=dtype)
        module.kernel[...] = to_conv_kernel(weight)
    elif isinstance(module, Linear):
        module.kernel[...] = normal(rngs, module.kernel.shape[::-1], std=0.01, dtype=dtype).T
    if isinstance(module, Conv2d | Linear) and module.bias is not None:
        module.bias[...] = jnp.zeros_like(module.bias[...])
