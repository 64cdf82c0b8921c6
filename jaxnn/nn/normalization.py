"""Batch normalization with PyTorch's conventions."""

import jax
import jax.numpy as jnp
import numpy as np
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
    shares = 1  # contiguous ones of a batch, each with statistics of its own; see normalize_shares

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
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
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
        elif self.shares > 1 and len(x) > 1 and not self.use_running_average:
            mean, var = self._share_statistics(x)
        else:
            mean, var = self._batch_statistics(x)
        y = (x - mean.astype(x.dtype)) * (1 / jnp.sqrt(var + self.eps)).astype(x.dtype)
        if self.scale is not None and self.bias is not None:
            y = y * self.scale[...] + self.bias[...]
        return y

    def _batch_statistics(self, x: Array) -> tuple[Array, Array]:
        mean, var = self._statistics(x)
        self._track_training(x, mean, var)
        return mean, var

    def _share_statistics(self, x: Array) -> tuple[Array, Array]:
        """Those of each example's share, (batch, ..., channel); the running ones are the first share's."""
        shares, size = min(self.shares, len(x)), len(x)
        if size % shares == 0:  # without cutting, which would bring the shares of all devices together
            even = (shares, size // shares)
            mean, var = jax.vmap(self._statistics)(x.reshape(*even, *x.shape[1:]))
            # Not by jnp.repeat: its gather by computed positions would bring every share's to every device.
            spread = [jnp.broadcast_to(of[:, None], (*even, of.shape[-1])) for of in (mean, var)]
        else:
            parts = jnp.array_split(x, shares)
            repeats = np.array([len(part) for part in parts])
            mean, var = (jnp.stack(each) for each in zip(*map(self._statistics, parts), strict=True))
            spread = [jnp.repeat(of, repeats, axis=0, total_repeat_length=size) for of in (mean, var)]
        self._track_training(x[: -(-size // shares)], mean[0], var[0])
        shape = (size, *[1] * (x.ndim - 2), x.shape[-1])
        return spread[0].reshape(shape), spread[1].reshape(shape)

    def _statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and biased variance of each channel."""
        if x.size == x.shape[-1] and not self.use_running_average:
            raise ValueError(
                f"batch normalization in training needs more than 1 value per channel, got shape {x.shape}"
            )
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(wide, axes)
        return mean, jnp.mean(jnp.square(wide - mean), axes)

    def _track_training(self, x: Array, mean: Array, var: Array) -> None:
        if self.track_running_stats and not self.use_running_average:
            count = x.size // x.shape[-1]
            self._track(mean, var * (count / (count - 1)))

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


def normalize_shares(model: nnx.Module, shares: int) -> None:
    """Has each BatchNorm in ``model`` take the statistics of so many shares of a batch, one by one.

    As PyTorch's DistributedDataParallel does without SyncBatchNorm: sizes as of torch.tensor_split, and running
    statistics of the first share alone, which it hands to all.
    """
    for _, module in nnx.iter_modules(model):
        if isinstance(module, _BatchNorm):
            module.shares = shares
