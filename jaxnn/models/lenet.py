"""LeNet: two convolutions with max-pooling, then three fully connected layers."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnn import recipe
from jaxnn.nn import Conv2d, Flatten, Linear, MaxPool2d, conv_relu_pool
from jaxnn.nn.initializers import Rngs


class LeNet(nnx.Module):
    """conv1, conv2 (each with ReLU and 2x2 max-pool), fc1, fc2 (ReLU), fc3."""

    functional = ("pool", "flatten")

    def __init__(
        self,
        spec: recipe.LeNet,
        *,
        input_shape: tuple[int, ...],
        outputs: int,
        rngs: Rngs,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        first, second = spec.channels
        kernel = spec.kernel_size
        features = spec.flat_features(input_shape)
        self.conv1 = Conv2d(input_shape[-1], first, kernel, rngs=rngs, param_dtype=param_dtype)
        self.conv2 = Conv2d(first, second, kernel, rngs=rngs, param_dtype=param_dtype)
        self.pool = MaxPool2d(2)
        self.flatten = Flatten()
        self.fc1 = Linear(features, spec.hidden[0], rngs=rngs, param_dtype=param_dtype)
        self.fc2 = Linear(spec.hidden[0], spec.hidden[1], rngs=rngs, param_dtype=param_dtype)
        self.fc3 = Linear(spec.hidden[1], outputs, rngs=rngs, param_dtype=param_dtype)

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Float[Array, "batch outputs"]:
        x = conv_relu_pool(self.conv1, self.pool, x)
        x = conv_relu_pool(self.conv2, self.pool, x)
        x = self.flatten(x)
        x = jax.nn.relu(self.fc1(x))
        x = jax.nn.relu(self.fc2(x))
        return self.fc3(x)
