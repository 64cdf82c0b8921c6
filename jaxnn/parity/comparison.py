"""The comparison in one process, and a recording of the JAX side alone, for another to compare."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from jaxnn import precision as precisions
from jaxnn.parity import band, dump
from jaxnn.parity.batches import Batch, as_batches
from jaxnn.parity.port import objectives, recorder, training
from jaxnn.parity.port.pairing import Rules
from jaxnn.parity.recording import Arrays, Recording
from jaxnn.parity.report import Report
from jaxnn.parity.verdict import verdict
from jaxnn.recipe import Precision


def compare(
    torch_model: Any,
    nnx_model: nnx.Module,
    batch: Batch | Sequence[Batch],
    *,
    loss: str | tuple[Callable[..., Any], Callable[..., Any]],
    optimizer: Any = None,
    scheduler: Callable[..., Any] | None = None,
    steps: int = 0,
    precision: Precision = "float64",
    train: bool = True,
    rules: Rules | None = None,
    jax_optimizer: Any = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Report:
    """Compares a port with its original: initialization, every layer, loss, gradients, buffers, and every step.

    ``batch``: (inputs, targets) in NumPy and PyTorch's layout, or a list of batches that the steps take in turn; the
    NNX model gets images channels last. ``loss``: a function of torch.nn.functional by name, or a pair (torch, jax)
    of functions from (outputs, targets) to a scalar. ``optimizer``: a class of torch.optim by name ("sgd"), with
    options (("sgd", {"lr": 0.1, "momentum": 0.9})), or a function from parameters to a torch optimizer;
    ``scheduler``: from that optimizer to its LRScheduler, stepped after each step. ``jax_optimizer``: the port's
    optax transformation; default: jaxnn's, with PyTorch's options and learning rates. ``rules``: see
    ``jaxnn.parity.Rule``. ``atol`` and ``rtol`` replace the stated tolerances: |difference| <= atol + rtol * scale.
    ``seed``: of the dropout masks that both share.

    Neither model is changed. Weights and buffers go from PyTorch's to the port, in ``precision``. In float32, and in
    float64 where trainings part although the optimizer is right, they are judged by how far PyTorch parts from
    itself. Raises UserError for models that cannot be paired or cannot take the batch, and for weights that are not
    finite.
    """
    import torchref.recorder

    theirs = torchref.recorder.record(
        torch_model,
        batch,
        loss=loss if isinstance(loss, str) else loss[0],
        optimizer=optimizer,
        scheduler=scheduler,
        steps=steps,
        precision=precision,
        train=train,
        seed=seed,
    )
    limits = {"atol": atol, "rtol": rtol, "title": f"{_name(torch_model)} and its port {_name(nnx_model)}"}
    with precisions.activate(precision):
        ours = recorder.record(nnx_model, theirs.recording, loss=loss, rules=rules)

        def judged(own: band.Band | None) -> Report:
            pairs = _in_step(ours, theirs.steps(), batch, precision, jax_optimizer, theirs.recording)
            return verdict(theirs.recording, ours.recording, pairs, band=own, **limits)

        stated = atol is None and rtol is None
        if steps and stated and precision == "float32":
            return judged(band.measure(theirs.steps))
        found = judged(None)
        if steps and stated and found.parts_in_training_alone:
            found = judged(band.measure(theirs.steps))
        return found


def capture(
    model: nnx.Module,
    batch: Batch | Sequence[Batch] | None = None,
    *,
    reference: str | Path,
    loss: str | tuple[Any, Callable[..., Any]],
    jax_optimizer: Any = None,
    rules: Rules | None = None,
    out: str | Path | None = None,
) -> Recording:
    """Records ``model`` along the dump ``reference`` of torchref.capture and writes the dump ``out``.

    Weights, precision, mode, dropout masks and the number of steps are those of the reference; with one batch, that
    is there too, and ``batch`` needs giving only where the steps took several. Errors are those of ``compare``.
    """
    theirs, their_steps = dump.read(Path(reference))
    precision: Any = theirs.precision
    given = (theirs.arrays["inputs"], theirs.arrays["targets"]) if batch is None else batch
    with precisions.activate(precision):
        run = recorder.record(model, theirs, loss=loss, rules=rules)
        pairs = _in_step(run, their_steps, given, precision, jax_optimizer, theirs)
        recording = Recording(**vars(run.recording) | {"steps": theirs.steps, "optimizer": theirs.optimizer})
        if out is not None:
            dump.write(Path(out), recording, (ours for _, ours in pairs))
    return recording


def _in_step(
    run: recorder.Run,
    steps: Iterator[Arrays],
    batch: Batch | Sequence[Batch],
    precision: str,
    jax_optimizer: Any,
    reference: Recording,
) -> Iterator[tuple[Arrays, Arrays]]:
    """Each step of PyTorch's training and the port's own, one after the other."""
    if not reference.steps or run.recording.failure:
        return
    optimizer = objectives.resolve_optimizer(jax_optimizer, reference.optimizer)
    follow = training.follow(run.port, as_batches(batch, precision), optimizer)
    for theirs in steps:
        yield theirs, follow(theirs)


def _name(model: Any) -> str:
    return type(model).__name__
