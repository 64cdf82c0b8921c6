"""StableHLO files of trained models, by jax.export: JAX runs them without the model's code."""

from collections.abc import Callable

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxnn import precision
from jaxnn.interop.image_layout import Layout, in_layout, shape_in
from jaxnn.nn import conv_method
from jaxnn.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")


def convert(trained: Trained, layout: Layout) -> bytes:
    """The model for ``PLATFORMS`` and any batch size: float32 inputs as ``layout`` has them -> (batch, outputs).

    ``jax.export.deserialize(bytearray(file)).call(inputs)`` runs it.
    """
    model = trained.model

    def forward(x: jax.Array) -> jax.Array:
        if trained.is_image and layout == "nchw":
            x = jnp.transpose(x, (0, 2, 3, 1))
        return model(x)  # type: ignore[operator]

    (batch,) = jax.export.symbolic_shape("batch")
    inputs = jax.ShapeDtypeStruct((batch, *shape_in(trained.input_shape, layout)), jnp.float32)
    with precision.activate("float32"), conv_method("lax"):
        return bytes(jax.export.export(jax.jit(forward), platforms=PLATFORMS)(inputs).serialize())


def runner(file: bytes, layout: Layout) -> Callable[[np.ndarray], np.ndarray]:
    """The program of a file, read anew, as a function of inputs with channels last."""
    program = jax.export.deserialize(bytearray(file))
    return lambda inputs: np.asarray(program.call(in_layout(inputs, layout)))
