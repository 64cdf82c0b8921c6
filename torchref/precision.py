"""Where a run computes, and in which number format."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from jaxnn.recipe import Precision


def device() -> torch.device:
    """The first CUDA device, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype(precision: Precision) -> torch.dtype:
    """Of parameters and inputs: bfloat16 is mixed precision, whose parameters are float32."""
    return torch.float64 if precision == "float64" else torch.float32


@contextlib.contextmanager
def activate(precision: Precision) -> Iterator[None]:
    """The default dtype of a run, and no silent TF32: PyTorch has it on for cuDNN's float32 convolutions."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        with default_dtype(precision):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextlib.contextmanager
def default_dtype(precision: Precision) -> Iterator[None]:
    """Makes float64 the default of a float64 run: NAdam keeps its product of momenta in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype(precision))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def place(model: nn.Module, precision: Precision, device: torch.device) -> nn.Module:
    """Moves a float32 model to its device and number format (torch.autocast for bfloat16), in place."""
    model.to(device, dtype(precision))
    if precision == "bfloat16":
        forward = model.forward

        def mixed(inputs: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16):
                outputs = forward(inputs)
            return outputs.float()  # losses in float32, as torch.amp recommends

        model.forward = mixed
    return model
