"""An NNX model's run, recorded along PyTorch's: its weights carried over, its layers followed, its dropouts shared."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jax import Array

from jaxnn import environment
from jaxnn import precision as precisions
from jaxnn.errors import UserError
from jaxnn.interop.layout import INPUTS, Activations
from jaxnn.nn.interception import NO_BUFFER, intercepted, layers_of, mark
from jaxnn.parity.port.calls import Path, dotted, sequences
from jaxnn.parity.port.interception import Masks, sharing, sites_of
from jaxnn.parity.port.objectives import resolve_loss
from jaxnn.parity.port.pairing import Pairing, Rules, pair
from jaxnn.parity.port.passes import alone, whole
from jaxnn.parity.port.port import Port, Pytree
from jaxnn.parity.recording import Layer, Recording


@dataclass(frozen=True)
class Run:
    """The recorded first pass, and the model taken apart, from which a training may start."""

    recording: Recording
    port: Port


def record(model: nnx.Module, reference: Recording, *, loss: Any, rules: Rules | None = None) -> Run:
    """Records ``model`` on the batch, with the weights and the masks of ``reference``, in its precision and mode.

    The model is copied and stays as it is. ``loss``: see ``resolve_loss``. Raises PairingError if the models cannot
    be paired, UserError if the NNX model cannot take the inputs even with each layer fed the reference's. To be
    called inside ``jaxnn.precision.activate``.
    """
    if not isinstance(model, nnx.Module):
        raise UserError(f"the NNX model is a {type(model).__name__}; give an instance of flax.nnx.Module")
    if not [path for path, _ in nnx.iter_modules(model) if path]:
        model = nnx.Sequential(model)  # a layer alone, as PyTorch's side has it
    dtype = precisions.DTYPES[reference.precision].param  # pyright: ignore[reportArgumentType]
    model = nnx.clone(model)
    mark(model)
    _widen(model, dtype)
    model.train() if reference.train else model.eval()
    activations = Activations(sequences=sequences(reference))
    calls, failure, drawn = _call_order(model, reference, activations)
    pairing = pair(reference, sites_of(model), calls, rules)
    activations = replace(activations, flattened=pairing.flattened)
    graph, params, buffers, rest = nnx.split(model, nnx.Param, nnx.Not(NO_BUFFER), ...)
    initial = traverse_util.flatten_dict(nnx.to_pure_dict(params)) | traverse_util.flatten_dict(
        nnx.to_pure_dict(buffers)
    )
    port = Port(
        graph=graph,
        params=_carried(nnx.to_pure_dict(params), reference, pairing),
        buffers=_carried(nnx.to_pure_dict(buffers), reference, pairing),
        rest=nnx.to_pure_dict(rest),
        pairing=pairing,
        activations=activations,
        loss=resolve_loss(loss, activations),
    )
    arrays, notes, failure = _passes(port, reference, failure)
    arrays |= {f"weight/{key}": value for key, value in port.in_torch(port.params, port.buffers).items()}
    arrays |= {
        f"initial/{key}": layout.to_torch(np.asarray(initial[path])) for key, (path, layout) in pairing.leaves.items()
    }
    arrays |= {key: reference.arrays[key] for key in ("inputs", "targets")}
    for side, key, path in pairing.missing:
        if side == "PyTorch":
            arrays[f"weight/{key}"] = initial[path]
    by_name = {layer.name: layer for layer in reference.layers}
    classes = {path: _class_name(module) for path, module in layers_of(model).items()}
    return Run(
        Recording(
            framework="jax",
            precision=reference.precision,
            train=reference.train,
            layers=tuple(
                Layer(name=name, kind=by_name[name].kind, path=dotted(path), options={"class": classes[path]})
                for name, (path, _) in pairing.calls.items()
            ),
            arrays={key: np.asarray(value) for key, value in jax.device_get(arrays).items()},
            loss=loss if isinstance(loss, str) else "custom",
            environment=environment.platform(),
            failure=failure,
            notes=tuple(dict.fromkeys((*pairing.notes, *notes, *drawn))),
        ),
        port,
    )


def _widen(model: nnx.Module, dtype: Any) -> None:
    """Single and double precision become the comparison's; a model that says bfloat16 keeps it, a difference."""
    widened = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if leaf.dtype in (jnp.float32, jnp.float64) else leaf, nnx.state(model)
    )
    nnx.update(model, widened)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Embed) and module.dtype == module.param_dtype == jnp.float32:
            module.dtype = dtype  # what it took from its parameters when it was built


def _carried(tree: Pytree, reference: Recording, pairing: Pairing) -> Pytree:
    """The tree with PyTorch's values in it; what only NNX has keeps its own."""
    weights = reference.under("weight")
    flat: dict[Any, Any] = traverse_util.flatten_dict(tree)
    theirs = {path: layout.to_nnx(weights[key]) for key, (path, layout) in pairing.leaves.items() if path in flat}
    return traverse_util.unflatten_dict(flat | {path: jnp.asarray(v, flat[path].dtype) for path, v in theirs.items()})


def _call_order(model: nnx.Module, reference: Recording, activations: Activations) -> tuple[list[Path], str, list[str]]:
    """The layers in the order of their calls, from a pass without values; if it fails, as they stand in the model,
    and why it failed; and which dropouts found no mask."""
    order: list[Path] = []
    split = nnx.split(model)
    masks = Masks([jnp.asarray(mask) for mask in _masks(reference)], activations)

    def forward(state: Any, x: Array) -> Any:
        merged = nnx.merge(split[0], state)

        def call(path: Path, number: int, original: Callable[..., Any], x: Any) -> Any:
            order.append(path)
            return original(x)

        with sharing(masks), intercepted(merged, call):
            return merged(x)

    inputs = activations.to_nnx(reference.arrays["inputs"], INPUTS)
    try:
        jax.eval_shape(forward, split[1], jnp.asarray(inputs))
    except Exception as error:  # whatever the user's code may raise: the report says what
        return [site.path for site in sites_of(model)], _first_line(error), []
    return order, "", masks.notes


def _class_name(module: nnx.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _masks(reference: Recording) -> list[np.ndarray]:
    masks = reference.under("mask")
    return [masks[str(number)] for number in range(len(masks))]


def _passes(port: Port, reference: Recording, failure: str) -> tuple[dict[str, Any], list[str], str]:
    """The arrays of the pass with layers alone and of the whole pass with its gradients; notes; and why, if so, the
    whole pass fails, of which ``failure`` knows already if the forward pass does."""
    notes: list[str] = []
    masks = _masks(reference)
    inputs = jnp.asarray(port.activations.to_nnx(reference.arrays["inputs"], INPUTS))
    targets = jnp.asarray(reference.arrays["targets"])
    try:
        arrays = alone(port, reference, inputs, masks, notes)
    except Exception as error:
        shape = tuple(inputs.shape)
        raise UserError(f"the NNX model cannot take inputs of shape {shape}: {_first_line(error)}") from error
    if not failure:
        try:
            arrays |= whole(port, inputs, targets, masks)
        except Exception as error:  # whatever the user's code may raise: the report says what
            failure = _first_line(error)
    return arrays, notes, failure


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
