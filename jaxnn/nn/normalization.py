"""Batch normalization with PyTorch's conventions."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class _BatchNorm(nnx.Module):
    """Normalization by the batch's statistics in training, by running ones in evaluation.

    Where PyTorch's conventions (torch.nn.BatchNorm2d) are not flax's: ``momentum`` is the weight of
    the *new* statistic (None: their plain average); the batch is normalized by its biased variance,
    but the running variance takes the unbiased one; statistics have the input's precision (float32
    for bfloat16), from two passes.
    """

    ndim: int

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        param_dtype: jnp.dtype | type = jnp.float32,
    ) -> None:
        self.eps, self.momentum = eps, momentum
        self.use_running_average = False
        self.track_running_stats = track_running_stats
        self.scale = nnx.Param(jnp.ones(num_features, param_dtype)) if affine else None
        self.bias = nnx.Param(jnp.zeros(num_features, param_dtype)) if affine else None
        if track_running_stats:
            self.mean = nnx.BatchStat(jnp.zeros(num_features, param_dtype))
            self.var = nnx.BatchStat(jnp.ones(num_features, param_dtype))
            self.num_batches_tracked = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, x: Float[Array, "batch *spatial channel"]) -> Float[Array, "batch *spatial channel"]:
        if x.ndim != self.ndim:
            raise ValueError(f"{type(self).__name__} takes arrays of {self.ndim} dimensions, got shape {x.shape}")
        if self.use_running_average and self.track_running_stats:
            mean, var = self.mean[...], self.var[...]
        else:
            mean, var = self._batch_statistics(x)
        y = (x - mean.astype(x.dtype)) * (1 / jnp.sqrt(var + self.eps)).astype(x.dtype)
        if self.scale is not None and self.bias is not None:
            y = y * self.scale[...] + self.bias[...]
        return y

    def _batch_statistics(self, x: Array) -> tuple[Array, Array]:
        count = x.size // x.shape[-1]
        if count == 1 and not self.use_running_average:
            raise ValueError(
                f"batch normalization in training needs more than 1 value per channel, got shape {x.shape}"
            )
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(wide, axes)
        var = jnp.mean(jnp.square(wide - mean), axes)
        if self.track_running_stats and not self.use_running_average:
            self._track(mean, var * (count / (count - 1)))
        return mean, var

    def _track(self, mean: Array, unbiased_var: Array) -> None:
        self.num_batches_tracked[...] = self.num_batches_tracked[...] + 1
        for running, new in ((self.mean, mean), (self.var, unbiased_var)):
            old = running[...]
            weight = 1 / self.num_batches_tracked[...].astype(old.dtype) if self.momentum is None else self.momentum
            running[...] = (1 - weight) * old + weight * new.astype(old.dtype)


class BatchNorm1d(_BatchNorm):
    """torch.nn.BatchNorm1d on (N, C)."""

    ndim = 2


class BatchNorm2d(_BatchNorm):
    """torch.nn.BatchNorm2d on (N, H, W, C)."""

    ndim = 4
