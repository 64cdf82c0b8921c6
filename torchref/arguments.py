"""What a caller gives to a recording, made ready: the model, the loss and the optimizer, by name or as they are."""

import copy
import difflib
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from jaxnn.errors import UserError
from jaxnn.recipe import Precision
from torchref.precision import dtype

Loss = str | Callable[[Tensor, Tensor], Tensor]
Optimizer = str | tuple[str, dict[str, Any]] | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Scheduler = Callable[[torch.optim.Optimizer], LRScheduler]

_OPTIMIZERS = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}


def prepare_model(model: nn.Module, precision: Precision) -> nn.Module:
    """A copy in the number format of the comparison. Raises UserError if that would lose or hide something."""
    floats = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    types = {str(value.dtype).removeprefix("torch.") for value in floats.values()}
    if not types <= {"float32", precision}:
        odd = next(name for name, value in floats.items() if str(value.dtype)[6:] not in ("float32", precision))
        raise UserError(
            f"the PyTorch model holds {odd} as {str(floats[odd].dtype)[6:]}, and the comparison is in {precision}; "
            "convert the model with .float(), or .double() for precision 'float64'"
        )
    if len(types) > 1:
        raise UserError(f"the PyTorch model mixes {' and '.join(sorted(types))}; convert it with .float() or .double()")
    spoiled = [name for name, value in floats.items() if not value.isfinite().all()]
    if spoiled:
        raise UserError(f"the PyTorch model holds numbers that are not finite: {', '.join(spoiled)}")
    return copy.deepcopy(model).to("cpu", dtype(precision))


def resolve_loss(loss: Loss) -> Callable[..., Tensor]:
    if callable(loss):
        return loss
    known = [name for name in vars(F) if "loss" in name or "cross_entropy" in name or name == "kl_div"]
    if loss not in known:
        raise UserError(f"torch.nn.functional has no loss {loss!r}{_nearest(loss, known)}")
    return getattr(F, loss)


def resolve_optimizer(
    optimizer: Optimizer | None, scheduler: Scheduler | None
) -> tuple[Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer], Scheduler | None]:
    if optimizer is None:
        return lambda parameters: torch.optim.SGD(parameters), scheduler
    if callable(optimizer):
        return lambda parameters: optimizer(list(parameters)), scheduler
    name, options = (optimizer, {}) if isinstance(optimizer, str) else optimizer
    options = dict(options)
    scheduler = options.pop("scheduler", scheduler)
    if "learning_rate" in options:
        options["lr"] = options.pop("learning_rate")
    kind = _OPTIMIZERS.get(name.lower())
    if kind is None:
        raise UserError(f"torch.optim has no optimizer {name!r}{_nearest(name.lower(), _OPTIMIZERS)}")

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        try:
            return kind(list(parameters), **options)
        except (TypeError, ValueError) as error:
            raise UserError(f"torch.optim.{kind.__name__} cannot take {options}: {error}") from error

    return make, scheduler


def describe_optimizer(optimizer: torch.optim.Optimizer, scheduler: Scheduler | None) -> dict[str, Any]:
    """The optimizer's name and options; ``groups`` if there is more than one group of parameters.

    Its momentum is that of the first step: OneCycleLR gives one to an SGD that had none, which then keeps a buffer.
    """
    if scheduler is not None:
        rate = optimizer.param_groups[0]["lr"]
        scheduler(optimizer)
        optimizer.param_groups[0]["lr"] = rate  # as it was asked for
    options = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
    plain = {name: value for name, value in options.items() if isinstance(value, bool | int | float | str)}
    plain |= {name: list(value) for name, value in options.items() if isinstance(value, tuple)}
    groups = {} if len(optimizer.param_groups) == 1 else {"groups": len(optimizer.param_groups)}
    return {"name": type(optimizer).__name__.lower()} | plain | groups


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
