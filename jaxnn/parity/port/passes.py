"""The passes of a recording: each layer fed the reference's input, and the whole model with its gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from jaxnn.interop.layout import INPUTS, OUTPUTS
from jaxnn.nn.interception import NO_BUFFER, intercepted
from jaxnn.parity.port.calls import Path
from jaxnn.parity.port.interception import sharing
from jaxnn.parity.port.port import Port, Pytree
from jaxnn.parity.recording import Recording

# Each pass runs once: what XLA's expensive optimizations cost is more than they give.
_QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def alone(port: Port, reference: Recording, inputs: Array, masks: list[Any], notes: list[str]) -> dict[str, Any]:
    names = port.layer_names()
    owned = {layer.name: layer.options.get("mask") for layer in reference.layers}
    given = {key: jnp.asarray(value) for key, value in reference.under("forward").items()}

    def forward(params: Pytree, buffers: Pytree, given: dict[str, Array], masks: list[Array], x: Array) -> Any:
        model, shared = port.merged(params, buffers), port.masks(masks)
        seen: dict[str, Array] = {}

        def call(path: Path, number: int, original: Callable[..., Any], x: Any) -> Any:
            name = names.get((path, number))
            if name is None or f"{name}/input" not in given or not isinstance(x, jax.Array):
                return original(x)
            shared.owned = owned[name]
            seen[f"alone/{name}/input"] = port.activations.to_torch(x, (name, "input"))
            y = original(port.activations.to_nnx(given[f"{name}/input"], (name, "input")))
            shared.owned = None
            seen[f"alone/{name}/output"] = port.activations.to_torch(y, (name, "output"))
            return port.activations.to_nnx(given[f"{name}/output"], (name, "output"))

        with sharing(shared), intercepted(model, call):
            outputs = model(x)
        notes.extend(shared.notes)
        changed = port.in_torch({}, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Any(nnx.Param, NO_BUFFER)))))
        seen |= {f"buffer/{key}": value for key, value in changed.items()}
        return seen | {"alone/outputs": port.activations.to_torch(outputs, OUTPUTS)}

    return _compiled(forward)(port.params, port.buffers, given, masks, inputs)


def whole(port: Port, inputs: Array, targets: Array, masks: list[Any]) -> dict[str, Any]:
    names = port.layer_names()
    shapes: dict[str, jax.ShapeDtypeStruct] = {}

    def forward(
        params: Pytree, x: Array, nudges: dict[str, Array], buffers: Pytree, masks: list[Array], targets: Array
    ) -> tuple[Array, dict[str, Array]]:
        model = port.merged(params, buffers)
        seen: dict[str, Array] = {}

        def call(path: Path, number: int, original: Callable[..., Any], x: Any) -> Any:
            y, name = original(x), names.get((path, number))
            if name is None or not isinstance(y, jax.Array):
                return y
            if jnp.issubdtype(y.dtype, jnp.floating):
                shapes[name] = jax.ShapeDtypeStruct(y.shape, y.dtype)
                y = y + nudges[name] if name in nudges else y  # zeros, whose gradient is that of the output
            seen[f"forward/{name}/input"] = port.activations.to_torch(x, (name, "input"))
            seen[f"forward/{name}/output"] = port.activations.to_torch(y, (name, "output"))
            return y

        with sharing(port.masks(masks)), intercepted(model, call):
            outputs = model(x)
        seen["outputs"] = port.activations.to_torch(outputs, OUTPUTS)
        return port.loss(outputs, targets), seen

    arguments = (port.buffers, masks, targets)
    jax.eval_shape(forward, port.params, inputs, {}, *arguments)
    nudges = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    floats = jnp.issubdtype(inputs.dtype, jnp.floating)
    compute = jax.value_and_grad(forward, argnums=(0, 2, 1) if floats else (0, 2), has_aux=True)
    (value, seen), (gradients, backward, *rest) = _compiled(compute)(port.params, inputs, nudges, *arguments)
    arrays = seen | {"loss": value}
    arrays |= {f"gradient/{key}": gradient for key, gradient in port.in_torch(gradients).items()}
    arrays |= {
        f"backward/{name}": port.activations.to_torch(gradient, (name, "output")) for name, gradient in backward.items()
    }
    return arrays | ({"gradient/inputs": port.activations.to_torch(rest[0], INPUTS)} if rest else {})


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled, or if the model has compiled parts of its own, whose insides could not be seen, step by step."""

    def run(*arguments: Any) -> Any:
        try:
            return jax.jit(function, compiler_options=_QUICK)(*arguments)
        except jax.errors.UnexpectedTracerError:
            with jax.disable_jit():
                return function(*arguments)

    return run
