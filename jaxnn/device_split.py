"""A split as the compiled step takes it: raw, with what scales it there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnn.precision import Dtypes
from jaxnn.recipe import Input


class Split(NamedTuple):
    """Examples, with what scales images: (inputs / scale - mean) / std.

    The three numbers are arguments of the step and not constants in it, because XLA would turn a
    division by a constant into a product with its rounded inverse.
    """

    inputs: Array
    labels: Int[Array, " examples"]
    affine: tuple[Float[Array, ""], Float[Array, "*channels"], Float[Array, "*channels"]]

    def of(self, examples: Int[Array, " batch"] | None) -> tuple[Array, Int[Array, " batch"]]:
        """Inputs and labels of these examples; None: all, which are the batch."""
        return (self.inputs, self.labels) if examples is None else (self.inputs[examples], self.labels[examples])


def host_split(inputs: np.ndarray, labels: np.ndarray, spec: Input, dtypes: Dtypes) -> Split:
    """Images stay uint8, tables become floats; on the host."""
    is_images = inputs.dtype == np.uint8
    floats = jnp.promote_types(dtypes.param, jnp.float32)
    affine = (255.0, spec.mean, spec.std) if is_images else (1.0, 0.0, 1.0)
    given = inputs if is_images else inputs.astype(floats)
    scale, mean, std = (np.asarray(value, floats) for value in affine)
    return Split(given, labels.astype(np.int32), (scale, mean, std))  # type: ignore[arg-type]  # NumPy's


def device_split(inputs: np.ndarray, labels: np.ndarray, spec: Input, dtypes: Dtypes) -> Split:
    """The same on the default device."""
    given, of_device, affine = host_split(inputs, labels, spec, dtypes)
    return Split(_placed(np.asarray(given)), *jax.tree.map(jnp.asarray, (of_device, affine)))


def normalized(inputs: Array, split: Split, spec: Input) -> Array:
    """Images: ToTensor, then Normalize if the recipe asks for it; tables as they are."""
    if inputs.dtype == jnp.uint8:
        scale, mean, std = split.affine
        inputs = inputs.astype(scale.dtype) / scale
        if (spec.mean, spec.std) != (0.0, 1.0):
            inputs = (inputs - mean) / std
    return inputs


def _placed(inputs: np.ndarray) -> Array:
    """On a CPU read-only arrays are taken without a copy, if they are aligned (jaxnn.data.aligned); others never."""
    return jnp.array(inputs) if inputs.flags.writeable else jax.device_put(inputs)
