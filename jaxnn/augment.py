"""Random crops and mirrored images, inside the compiled step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8

from jaxnn.nn.fence import fenced


def augment(
    images: UInt8[Array, "batch height width channels"], drawn: Int[Array, "batch 3"], crop: int
) -> UInt8[Array, "batch height width channels"]:
    """``images`` padded by ``crop`` zeros on each side, cut and mirrored as jaxnn.data.augment has ``drawn``.

    On a CPU for itself: XLA would move it into each of the loops that read its images, and do it again there.
    """
    return (_alone if jax.default_backend() == "cpu" else _cut)(images, drawn, crop)


def _cut(images: Array, drawn: Array, crop: int) -> Array:
    """A gather of single pixels: slices, each at a place of its own, take a CPU nine times as long."""
    count, height, width, _ = images.shape
    top, left, mirrored = drawn[:, :1], drawn[:, 1:2], drawn[:, 2:]
    columns = jnp.arange(width, dtype=drawn.dtype)[None]
    columns = jnp.where(mirrored > 0, width - 1 - columns, columns) + left - crop
    rows = jnp.arange(height, dtype=drawn.dtype)[None] + top - crop
    inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    here = jnp.arange(count, dtype=drawn.dtype)[:, None, None]
    pixels = images.at[here, rows[:, :, None], columns[:, None, :]].get(
        mode="promise_in_bounds", wrap_negative_indices=False
    )
    return jnp.where(inside[..., None], pixels, jnp.zeros_like(pixels))


_alone = fenced("crop")(_cut)


def _within(places: Array, size: int) -> Array:
    return (places >= 0) & (places < size)
