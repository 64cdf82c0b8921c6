"""A split of a data set as tensors in the device's memory."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jaxnn.data import Split


class Examples(NamedTuple):
    """uint8 (N, height, width, channels) images or float32 (N, features), and int64 (N,) labels, on one device."""

    inputs: Tensor
    labels: Tensor


def load(split: Split, device: torch.device) -> Examples:
    """Copies the arrays once; steps take their batches by index."""
    # torch.tensor and not torch.from_numpy: the arrays may be read-only views of a cache file.
    inputs = torch.tensor(np.asarray(split.inputs), device=device)
    return Examples(inputs, torch.tensor(split.labels, dtype=torch.int64, device=device))
