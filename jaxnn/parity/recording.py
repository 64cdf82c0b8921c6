"""What is compared: one framework's run of one model, in NumPy, under PyTorch's names and in PyTorch's layout.

torchref.capture and jaxnn.parity.capture make recordings; everything behind them (verdict, diagnosis, report)
knows recordings alone and neither framework.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Framework = Literal["torch", "jax"]
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Op:
    """A call of a function of torch.nn.functional, or of its twin in torch: ``name`` as there, e.g. "max_pool2d".

    ``options``: its arguments that are no tensors, by name, as JSON.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One call of a layer. Layers are recorded in the order of their calls.

    ``name``: the torch module's; from its second call on with the number of the call, "pool#2".
    ``path``: of the NNX module, "" in a recording of PyTorch. ``kind``: the class of the torch module.
    ``options``: what the torch module was built with (stride, padding, eps, momentum, p, ...), as JSON.
    ``before``: the functions called between the layer before and this one, known to PyTorch's side alone.
    """

    name: str
    kind: str
    path: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    before: tuple[Op, ...] = ()

    @property
    def module(self) -> str:
        """The name without the number of the call: the prefix of the layer's parameters."""
        return self.name.partition("#")[0]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A run. ``arrays`` holds, with images as (batch, channels, height, width):

    ===========================  ==================================================================
    inputs, targets              the batch
    initial/NAME                 parameters and buffers as the model was built, before any were carried over
    weight/NAME                  parameters and buffers at the start of the run
    mask/N                       what the N-th dropout call kept (booleans), in the order of calls
    forward/LAYER/input|output   of each layer in a whole forward pass
    alone/LAYER/input|output     the same with each layer fed the reference's input and followed by the
                                 reference's output, so that a difference is of its own making: ``input`` is
                                 what the code between two layers made of the reference's last output
                                 (JAX only; PyTorch, the reference, has just ``forward``)
    outputs, alone/outputs       of the model
    loss                         a scalar
    gradient/NAME                of the loss, for each parameter; ``gradient/inputs`` for the batch's inputs
    backward/LAYER               of the loss, for the output of a layer
    buffer/NAME                  buffers after that forward pass (JAX: after the one with layers alone)
    ===========================  ==================================================================

    NAME is a key of PyTorch's state_dict ("conv1.weight", "bn.running_var"). A step of training is a mapping
    of its own, with the values after the step:

    ===========================  ==================================================================
    loss                         before the update
    learning_rate, momentum      of the step (PyTorch only)
    mask/N                       of the step's dropouts (PyTorch only)
    gradient/NAME                of the step, before the update
    parameter/NAME, buffer/NAME
    state/NAME/SLOT              the optimizer's, SLOT as torch.optim names it: momentum_buffer, exp_avg, ...
    given/parameter/NAME         JAX only: the same optimizer, given PyTorch's gradients at every step,
    given/state/NAME/SLOT        so that a difference is the optimizer's own
    ===========================  ==================================================================

    ``optimizer``: {"name": "adam", "lr": ..., other options by torch's names}, or {} without steps.
    ``after``: the functions called after the last layer. ``failure``: why no whole
    forward and backward pass could be recorded, "" if it could. ``notes``: what else is not there, and why.
    """

    framework: Framework
    precision: str
    train: bool
    layers: tuple[Layer, ...]
    arrays: Arrays
    after: tuple[Op, ...] = ()
    loss: str = "custom"
    optimizer: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    environment: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    notes: tuple[str, ...] = ()

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose key begins with ``prefix/``, by the rest of their keys."""
        return under(self.arrays, prefix)


def under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose key begins with ``prefix/``, by the rest of their keys."""
    cut = len(prefix) + 1
    return {key[cut:]: value for key, value in arrays.items() if key.startswith(f"{prefix}/")}
