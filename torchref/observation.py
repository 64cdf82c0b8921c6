"""Watching a forward pass: the inputs and outputs of layers, the functions called between them, dropout's masks."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from jaxnn.parity.recording import Layer, Op

_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"}

# Functions that are a network's own doing, with the names of arguments that may come without one.
_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_FUNCTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("relu", "relu_", "relu6", "sigmoid", "tanh", "silu", "mish", "softplus", "hardtanh", "hardswish", "selu")
        + ("gelu", "logsigmoid", "add", "mul", "sub", "div", "cat", "stack", "matmul"),
        (),
    ),
    **dict.fromkeys(("leaky_relu",), ("negative_slope",)),
    **dict.fromkeys(("elu", "celu"), ("alpha",)),
    **dict.fromkeys(("softmax", "log_softmax", "mean", "sum", "amax"), ("dim",)),
    **dict.fromkeys(("flatten",), ("start_dim", "end_dim")),
    **dict.fromkeys(("max_pool1d", "max_pool2d"), _POOL),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _AVERAGE),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), ("output_size",)),
    **dict.fromkeys(("reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "pad"), ("shape",)),
}


@dataclass
class Trace:
    """What was seen; ``calls`` holds (inputs, outputs) of each layer by its name, in the order of the calls."""

    layers: list[Layer] = field(default_factory=list)
    calls: dict[str, tuple[Tensor | None, Tensor]] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    masks: list[Tensor] = field(default_factory=list)
    after: list[Op] = field(default_factory=list)


@contextlib.contextmanager
def observed(model: nn.Module) -> Iterator[Trace]:
    """Inside, a forward pass of ``model`` is traced, and the backward pass fills in ``gradients`` of the outputs.

    Layers are the modules without children and those with parameters of their own, the model itself apart.
    """
    trace = Trace()
    functions = _Functions(trace.masks)
    inside: list[str] = []
    counts: dict[str, int] = {}

    def before(name: str, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        counts[name] = counts.get(name, 0) + 1
        inside.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
        functions.silent = True
        first = next((x for x in arguments if isinstance(x, Tensor)), None)
        started[inside[-1]] = (None if first is None else first.detach().clone(), len(trace.masks), functions.taken())

    def after(name: str, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        call = inside.pop()
        functions.silent = bool(inside)
        first = output[0] if isinstance(output, tuple | list) else output
        entered, masks, ops = started.pop(call)
        if not isinstance(first, Tensor):
            return
        options = _options(module) | ({"mask": masks} if len(trace.masks) > masks else {})
        trace.layers.append(Layer(name=call, kind=type(module).__name__, options=options, before=ops))
        trace.calls[call] = (entered, first.detach().clone())
        if first.requires_grad:
            first.register_hook(lambda gradient: trace.gradients.__setitem__(call, gradient.detach().clone()))

    started: dict[str, tuple[Tensor | None, int, tuple[Op, ...]]] = {}
    handles = []
    for name, module in model.named_modules():
        if name and _is_layer(module):
            handles.append(module.register_forward_pre_hook(lambda m, x, name=name: before(name, m, x)))
            handles.append(module.register_forward_hook(lambda m, x, y, name=name: after(name, m, x, y)))
    try:
        with functions:
            yield trace
        trace.after.extend(functions.taken())
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def dropouts(given: Sequence[Tensor] | None = None) -> Iterator[list[Tensor]]:
    """Inside, the masks of dropout calls gather in the list; with ``given`` they are taken from there instead."""
    masks: list[Tensor] = []
    functions = _Functions(masks, given)
    functions.silent = True
    with functions:
        yield masks


class _Functions(TorchFunctionMode):
    """Notes functions called while not ``silent``, and the mask of every dropout."""

    def __init__(self, masks: list[Tensor], given: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.silent = False
        self._masks, self._given = masks, given
        self._ops: list[Op] = []

    def taken(self) -> tuple[Op, ...]:
        """The functions noted since the last call."""
        ops, self._ops = tuple(self._ops), []
        return ops

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _DROPOUTS:
            return self._dropout(func, name, args, kwargs)
        if not self.silent and name in _FUNCTIONS:
            named = dict(zip(_FUNCTIONS[name], args[1:], strict=False)) | kwargs
            self._ops.append(Op(name=name.rstrip("_"), options=_as_json(named)))
        return func(*args, **kwargs)

    def _dropout(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        named = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
        inputs, rate = args[0], named.get("p", 0.5)
        if not named.get("training", named.get("train", True)):
            return func(*args, **kwargs)
        if not self.silent:
            self._ops.append(Op(name=name, options={"p": rate, "mask": len(self._masks)}))
        if self._given is not None:
            mask = self._given[len(self._masks)]
            self._masks.append(mask)
            return inputs * (mask / (1 - rate))
        # The mask is what dropout makes of ones; drawn from the same place in the stream, it is the same again.
        state = torch.get_rng_state()
        mask = func(torch.ones_like(inputs), *args[1:], **kwargs) != 0
        torch.set_rng_state(state)
        self._masks.append(mask)
        return func(*args, **kwargs)


def _is_layer(module: nn.Module) -> bool:
    own = any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))
    return own or not any(True for _ in module.children())


def _options(module: nn.Module) -> dict[str, Any]:
    """What the module was built with, as far as it says so."""
    names = getattr(module, "__constants__", None) or ()
    return _as_json({name: getattr(module, name) for name in names if hasattr(module, name)})


def _as_json(options: dict[str, Any]) -> dict[str, Any]:
    plain = (bool, int, float, str, type(None))

    def value(x: Any) -> Any:
        return list(x) if isinstance(x, tuple | list | torch.Size) else x

    found = {name: value(x) for name, x in options.items() if not name.startswith("_")}
    return {
        name: x
        for name, x in found.items()
        if isinstance(x, plain) or (isinstance(x, list) and all(isinstance(item, plain) for item in x))
    }
