"""Gradient clipping with the formulas of torch.nn.utils."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxnn.recipe import Clip

Tree = TypeVar("Tree")


def clip(gradients: Tree, clip: Clip) -> Tree:
    """Gradients as the recipe clips them, if it does."""
    if clip.norm is not None:
        return clip_grad_norm(gradients, clip.norm)[0]
    if clip.value is not None:
        return clip_grad_value(gradients, clip.value)
    return gradients


def clip_grad_norm(gradients: Tree, max_norm: float) -> tuple[Tree, Float[Array, ""]]:
    """Gradients scaled to a global norm of at most ``max_norm``, and their norm before (PyTorch: clip_grad_norm_).

    The scale is min(1, max_norm / (norm + 1e-6)); optax.clip_by_global_norm leaves out the 1e-6.
    """
    leaves = jax.tree.leaves(gradients)
    # The norm of the leaves' norms, as in torch: squares of a whole model overflow earlier.
    total_norm = jnp.linalg.norm(jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in leaves]))
    scale = jnp.minimum(1, max_norm / (total_norm + 1e-6))
    return jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), gradients), total_norm


def clip_grad_value(gradients: Tree, clip_value: float) -> Tree:
    """Every element limited to [-clip_value, clip_value] (PyTorch: clip_grad_value_)."""
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -clip_value, clip_value), gradients)
