"""BatchNorm over the examples of all processes: torch.nn.SyncBatchNorm on GPUs, and the same on CPUs, where that
refuses to run."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def convert(model: nn.Module) -> None:
    """Puts it in the place of every BatchNorm of ``model``; parameters, buffers and their names stay the same."""
    for name, child in model.named_children():
        if not isinstance(child, _BatchNorm):
            convert(child)
        elif any(buffer.is_cuda for buffer in child.buffers()):
            setattr(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            setattr(model, name, SyncBatchNorm.of(child))


class SyncBatchNorm(_BatchNorm):
    """As torch.nn.SyncBatchNorm: normalizes by the mean and the biased variance of all processes' examples; the running
    variance follows the unbiased one. A process may have no example."""

    @classmethod
    def of(cls, norm: _BatchNorm) -> "SyncBatchNorm":
        """It shares the parameters and buffers of ``norm``, which has to track statistics by a fixed momentum."""
        new = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        new._parameters, new._buffers = norm._parameters, norm._buffers
        return new.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes will do."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, ...) to the same shape and dtype. Raises ValueError if a channel has one value in all."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        x = input.to(self.running_mean.dtype)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        sums = _sum(torch.cat([x.sum(axes), x.new_tensor([x.numel() // x.shape[1]])]))
        count = sums[-1].detach()
        if count <= 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got {int(count)}")
        mean = sums[:-1] / count
        centered = x - _over(mean, x)
        # A second pass: the difference of two large sums would lose the variance's digits.
        variance = _sum(centered.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        y = centered * _over((variance + self.eps).rsqrt(), x)
        if self.affine:
            y = y * _over(self.weight, x) + _over(self.bias, x)
        return y.to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum over the processes; every process's result depends on every process's tensor."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _sum(tensor: Tensor) -> Tensor:
    return _Sum.apply(tensor)


def _over(channels: Tensor, x: Tensor) -> Tensor:
    """(channels,) made to go with (batch, channels, ...)."""
    return channels.view(1, -1, *[1] * (x.ndim - 2))
