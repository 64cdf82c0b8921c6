"""A PyTorch model's run recorded for comparison: every layer, gradient, buffer and step, as NumPy arrays."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jaxnn.errors import UserError
from jaxnn.parity import dump
from jaxnn.parity.batches import Batch, as_batches
from jaxnn.parity.recording import Arrays, Recording
from jaxnn.recipe import Precision
from torchref import environment
from torchref.arguments import (
    Loss,
    Optimizer,
    Scheduler,
    describe_optimizer,
    prepare_model,
    resolve_loss,
    resolve_optimizer,
)
from torchref.observation import dropouts, observed
from torchref.precision import default_dtype


@dataclass(frozen=True, kw_only=True)
class Variation:
    """The same run with other roundings: how far PyTorch is from itself.

    ``ulp``: every weight moved to a neighbouring number, up or down as drawn from this seed. ``threads``: computed
    by so many threads. ``reverse``: the examples of each batch backwards, so that sums run the other way.
    """

    ulp: int | None = None
    threads: int | None = None
    reverse: bool = False


@dataclass(frozen=True)
class Run:
    """A recorded first step, and the steps of a training that starts from the same weights; each call starts anew.

    A step's arrays are those of jaxnn.parity.recording, and ``mask/N``, what its dropouts kept.
    """

    recording: Recording
    steps: Callable[..., Iterator[Arrays]]


def capture(
    model: nn.Module,
    batch: Batch | Sequence[Batch],
    *,
    loss: Loss,
    optimizer: Optimizer | None = None,
    scheduler: Scheduler | None = None,
    steps: int = 0,
    precision: Precision = "float64",
    train: bool = True,
    seed: int = 0,
    out: str | Path | None = None,
) -> Recording:
    """Records ``model`` on ``batch`` and writes the dump ``out``, a folder, for jaxnn.parity.capture to follow.

    The model is copied and stays as it is. Arguments and errors are those of ``record``.
    """
    run = record(
        model,
        batch,
        loss=loss,
        optimizer=optimizer,
        scheduler=scheduler,
        steps=steps,
        precision=precision,
        train=train,
        seed=seed,
    )
    if out is not None:
        dump.write(Path(out), run.recording, run.steps())
    return run.recording


def record(
    model: nn.Module,
    batch: Batch | Sequence[Batch],
    *,
    loss: Loss,
    optimizer: Optimizer | None = None,
    scheduler: Scheduler | None = None,
    steps: int = 0,
    precision: Precision = "float64",
    train: bool = True,
    seed: int = 0,
) -> Run:
    """A forward and a backward pass of ``model``, and ``steps`` steps of training, each on the next of the batches.

    ``loss``: a function of torch.nn.functional by name, or one from (outputs, targets) to a scalar.
    ``optimizer``: a class of torch.optim by its name in lower case, perhaps with options (("sgd", {"lr": 0.1}));
    or a function from parameters to an optimizer. ``scheduler`` is stepped after every step. ``seed``: of the
    dropout masks. float32 weights are widened for float64. Raises UserError for a model of other or mixed types or
    with weights that are not finite, an unknown loss or optimizer, and inputs that the model cannot take.
    """
    batches = as_batches(batch, precision)
    if next(model.children(), None) is None:
        model = nn.Sequential(model)  # so that the one layer has a name
    objective = resolve_loss(loss)
    model = prepare_model(model, precision).train(train)
    if steps and optimizer is None:
        raise UserError(f"steps {steps} needs an optimizer; name one, such as ('sgd', {{'lr': 0.1}})")
    make, scheduler = resolve_optimizer(optimizer, scheduler)

    def run_steps(variation: Variation | None = None, masks: Iterable[Sequence[Tensor]] | None = None) -> Any:
        return _steps(model, batches, objective, make, scheduler, steps, seed, precision, variation, masks)

    recording = _first_pass(model, batches[0], objective, precision, train, seed)
    description = {"loss": loss if isinstance(loss, str) else "custom", "steps": steps}
    if steps:
        with default_dtype(precision):
            description["optimizer"] = describe_optimizer(make(copy.deepcopy(model).parameters()), scheduler)
    return Run(Recording(**{**vars(recording), **description}), run_steps)


def _first_pass(
    model: nn.Module, batch: Batch, loss: Callable[..., Tensor], precision: Precision, train: bool, seed: int
) -> Recording:
    model = copy.deepcopy(model)
    arrays: dict[str, np.ndarray] = {"inputs": batch[0], "targets": batch[1]}
    arrays |= {f"weight/{name}": _numpy(value) for name, value in model.state_dict().items()}
    inputs, targets = (torch.tensor(array) for array in batch)
    inputs.requires_grad_(inputs.is_floating_point())
    with default_dtype(precision), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with observed(model) as trace:
            outputs = _outputs(model, inputs)
        value = _scalar(loss, outputs, targets)
        if value.requires_grad:
            value.backward()
    arrays |= {"outputs": _numpy(outputs), "loss": _numpy(value)}
    for name, (entered, left) in trace.calls.items():
        arrays |= {} if entered is None else {f"forward/{name}/input": _numpy(entered)}
        arrays[f"forward/{name}/output"] = _numpy(left)
    arrays |= {f"backward/{name}": _numpy(gradient) for name, gradient in trace.gradients.items()}
    arrays |= {f"mask/{number}": _numpy(mask) for number, mask in enumerate(trace.masks)}
    arrays |= {f"gradient/{name}": _numpy(_gradient(p)) for name, p in model.named_parameters() if p.requires_grad}
    arrays |= {} if inputs.grad is None else {"gradient/inputs": _numpy(inputs.grad)}
    arrays |= {f"buffer/{name}": _numpy(value) for name, value in model.named_buffers()}
    return Recording(
        framework="torch",
        precision=precision,
        train=train,
        layers=tuple(trace.layers),
        after=tuple(trace.after),
        arrays=arrays,
        environment=environment.platform(torch.device("cpu")),
    )


def _steps(
    model: nn.Module,
    batches: list[Batch],
    loss: Callable[..., Tensor],
    make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    scheduler: Scheduler | None,
    steps: int,
    seed: int,
    precision: Precision,
    variation: Variation | None,
    given_masks: Iterable[Sequence[Tensor]] | None,
) -> Iterator[Arrays]:
    model = copy.deepcopy(model)
    variation = variation or Variation()
    if variation.ulp is not None:
        move_by_an_ulp(model, variation.ulp)
    optimizer = make(parameter for parameter in model.parameters() if parameter.requires_grad)
    schedule = None if scheduler is None else scheduler(optimizer)
    generator = torch.Generator().manual_seed(seed).get_state()
    masks_of_steps = None if given_masks is None else iter(given_masks)
    for step in range(steps):
        inputs, targets = (torch.tensor(array) for array in batches[step % len(batches)])
        given = None if masks_of_steps is None else next(masks_of_steps)
        if variation.reverse:
            inputs, targets = inputs.flip(0), targets.flip(0)
            given = None if given is None else [mask.flip(0) for mask in given]
        # Other runs may advance between two steps of this one: threads, dtype and stream are this step's own.
        threads = torch.get_num_threads()
        torch.set_num_threads(variation.threads or threads)
        try:
            with default_dtype(precision), torch.random.fork_rng(devices=[]), dropouts(given) as masks:
                torch.set_rng_state(generator)
                optimizer.zero_grad()
                value = _scalar(loss, _outputs(model, inputs), targets)
                value.backward()
                rates = rates_of(optimizer)
                optimizer.step()
                generator = torch.get_rng_state()
        finally:
            torch.set_num_threads(threads)
        if schedule is not None:
            schedule.step()
        yield {
            "loss": _numpy(value),
            **rates,
            **after_step(model, optimizer),
            **{f"mask/{number}": _numpy(mask) for number, mask in enumerate(masks)},
        }


def after_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """The model and the optimizer after a step, and the gradients that it used."""
    arrays = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        arrays |= {f"gradient/{name}": _numpy(_gradient(parameter)), f"parameter/{name}": _numpy(parameter)}
        for slot, held in optimizer.state[parameter].items():
            if isinstance(held, Tensor) and slot != "step":
                arrays[f"state/{name}/{slot}"] = _numpy(held)
    return arrays | {f"buffer/{name}": _numpy(buffer) for name, buffer in model.named_buffers()}


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """What a schedule may change: the learning rate and the momentum (Adam's family: beta1)."""
    group = optimizer.param_groups[0]
    momentum = group["betas"][0] if "betas" in group else group.get("momentum")
    rates = {"learning_rate": group["lr"], "momentum": momentum}
    return {name: np.asarray(float(value)) for name, value in rates.items() if value is not None}


def move_by_an_ulp(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            up = torch.rand(parameter.shape, generator=generator) < 0.5
            target = torch.where(up, torch.inf, -torch.inf).to(parameter)  # its dtype and device
            parameter.copy_(torch.nextafter(parameter, target))


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    try:
        outputs = model(inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)), None)
        shape = tuple(inputs.shape)
        if channels is not None and len(shape) > 2 and shape[-1] == channels != shape[1]:
            raise UserError(
                f"the inputs have shape {shape}, which looks channels last; give PyTorch's layout, "
                "(batch, channels, height, width)"
            ) from error
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"the PyTorch model cannot take inputs of shape {shape}: {first}") from error
    if not isinstance(outputs, Tensor):
        raise UserError(f"the PyTorch model gives a {type(outputs).__name__}; compare a model that gives one tensor")
    return outputs


def _scalar(loss: Callable[..., Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
    try:
        value = loss(outputs, targets)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"the loss cannot take outputs of shape {tuple(outputs.shape)} and targets of shape "
            f"{tuple(targets.shape)} ({targets.dtype}): {str(error).strip().splitlines()[0]}"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise UserError("the loss must be a scalar; reduce it, for example by its mean")
    return value


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _numpy(tensor: Tensor) -> np.ndarray:
    """A copy, which later steps leave alone."""
    return tensor.detach().cpu().numpy().copy()
