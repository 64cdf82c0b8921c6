"""Faults in fully connected layers: weights, biases, activations, initialization and number formats."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from jaxnn.nn import Linear
from jaxnn.nn.initializers import default_bias, default_weight
from jaxnn.parity.batches import Batch
from jaxnn.parity.faults.fault import Fault, Pair
from jaxnn.parity.port.pairing import Rule

INPUTS, WIDTH, CLASSES = 12, 16, 4


def batch() -> Batch:
    random = np.random.default_rng(0)
    return random.normal(size=(16, INPUTS)), random.integers(0, CLASSES, 16)


def original(*, bias: bool = True) -> Any:
    """Three layers with GELUs between them; the middle one is square, ``bias`` is that of the first."""
    from torch import nn

    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(INPUTS, WIDTH, bias=bias),
            act1=nn.GELU(),
            fc2=nn.Linear(WIDTH, WIDTH),
            act2=nn.GELU(),
            fc3=nn.Linear(WIDTH, CLASSES),
        )
    )


class MLP(nnx.Module):
    """The port of ``original`` in Flax's own layers, with other layers or activations where they are given."""

    def __init__(self, *, activation: Callable[[Array], Array] | None = None, **layers: nnx.Module) -> None:
        rngs = nnx.Rngs(0)
        self.fc1 = layers.get("fc1") or nnx.Linear(INPUTS, WIDTH, rngs=rngs)
        self.fc2 = layers.get("fc2") or nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.fc3 = layers.get("fc3") or nnx.Linear(WIDTH, CLASSES, rngs=rngs)
        self.activation = activation or (lambda x: jax.nn.gelu(x, approximate=False))

    def __call__(self, x: Array) -> Array:
        x = self.activation(self.fc1(x))
        x = self.activation(self.fc2(x))
        return self.fc3(x)


class ActivatedLast(MLP):
    """Applies the activation to the last layer too."""

    def __call__(self, x: Array) -> Array:
        return self.activation(super().__call__(x))


class Float32Inputs(MLP):
    """Casts its inputs, as a port that was written for float32 alone."""

    def __call__(self, x: Array) -> Array:
        return super().__call__(x.astype(jnp.float32))


class TransposedLinear(nnx.Module):
    """Keeps PyTorch's weight (out, in) and multiplies by it as if it were (in, out)."""

    def __init__(self, features: int) -> None:
        rngs = nnx.Rngs(1)
        self.weight = nnx.Param(default_weight(rngs, (features, features), fan_in=features))
        self.bias = nnx.Param(default_bias(rngs, (features,), fan_in=features))

    def __call__(self, x: Array) -> Array:
        return x @ self.weight[...] + self.bias[...]


def rounded(dtype: Any) -> Callable[..., Array]:
    """A matrix product as accelerators have it: operands in ``dtype``, the sum in the inputs' own precision."""

    def dot_general(x: Array, y: Array, *arguments: Any, **options: Any) -> Array:
        wide = jnp.promote_types(x.dtype, y.dtype)
        return jax.lax.dot_general(x.astype(dtype).astype(wide), y.astype(dtype).astype(wide), *arguments, **options)

    return dot_general


def _initialized(**initializers: Callable[..., Array]) -> MLP:
    """Layers of jaxnn, of which the first two are drawn by ``kernel`` and ``bias``."""
    rngs = nnx.Rngs(1)
    model = MLP(
        fc1=Linear(INPUTS, WIDTH, rngs=rngs), fc2=Linear(WIDTH, WIDTH, rngs=rngs), fc3=Linear(WIDTH, CLASSES, rngs=rngs)
    )
    for layer in (model.fc1, model.fc2):
        for name, draw in initializers.items():
            variable = getattr(layer, name)
            variable[...] = draw(rngs.params(), variable[...].shape, jnp.float32)
    return model


def _stock(inputs: int, outputs: int, **options: Any) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, rngs=nnx.Rngs(1), **options)


_OPTIONS: Mapping[str, Any] = {"loss": "cross_entropy"}
MLP_PAIR = Pair(model="MLP", original=original, port=MLP, batch=batch, options=_OPTIONS)
JAXNN_MLP_PAIR = Pair(
    model="MLP of jaxnn's layers", original=original, port=_initialized, batch=batch, options=_OPTIONS
)
BIASLESS_PAIR = Pair(
    model="MLP without a first bias",
    original=lambda: original(bias=False),
    port=lambda: MLP(fc1=_stock(INPUTS, WIDTH, use_bias=False)),
    batch=batch,
    options=_OPTIONS,
)
FLOAT32_PAIR = Pair(
    model="MLP in float32", original=original, port=MLP, batch=batch, options={**_OPTIONS, "precision": "float32"}
)

FAULTS = (
    Fault(
        name="GELU by tanh, Flax's default, for the exact one",
        cause="activation",
        pair=MLP_PAIR,
        level="forward",
        where=("act1", "fc2"),
        port=lambda: MLP(activation=jax.nn.gelu),
    ),
    Fault(
        name="SiLU for GELU",
        cause="activation",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("act1", "fc2"),
        port=lambda: MLP(activation=jax.nn.silu),
    ),
    Fault(
        name="activation after the last layer too",
        cause="activation",
        pair=MLP_PAIR,
        level="forward",
        where=("outputs",),
        port=ActivatedLast,
    ),
    Fault(
        name="use_bias=False",
        cause="missing-bias",
        pair=MLP_PAIR,
        level="weights",
        where=("fc2.bias",),
        port=lambda: MLP(fc2=_stock(WIDTH, WIDTH, use_bias=False)),
    ),
    Fault(
        name="a bias that PyTorch does not have, zero at first",
        cause="missing-bias",
        pair=BIASLESS_PAIR,
        level="weights",
        where=("fc1.bias",),
        port=MLP,
    ),
    Fault(
        name="rule that copies a square weight without transposing it",
        cause="weight-layout",
        pair=MLP_PAIR,
        level="forward",
        where=("fc2",),
        options={"rules": {"fc2.weight": Rule(axes=(0, 1))}},
    ),
    Fault(
        name="x @ weight for x @ weight.T",
        cause="weight-layout",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: MLP(fc2=TransposedLinear(WIDTH)),
    ),
    Fault(
        name="kaiming_normal weights",
        cause="initialisation",
        pair=JAXNN_MLP_PAIR,
        level="init",
        where=("fc1.weight",),
        port=lambda: _initialized(kernel=jax.nn.initializers.kaiming_normal()),
    ),
    Fault(
        name="glorot_uniform weights, zero biases (as Keras)",
        cause="initialisation",
        pair=JAXNN_MLP_PAIR,
        level="init",
        where=("fc1.weight",),
        port=lambda: _initialized(kernel=jax.nn.initializers.glorot_uniform(), bias=jax.nn.initializers.zeros),
    ),
    Fault(
        name="zero biases",
        cause="initialisation",
        pair=JAXNN_MLP_PAIR,
        level="init",
        where=("fc1.bias",),
        port=lambda: _initialized(bias=jax.nn.initializers.zeros),
    ),
    Fault(
        name="normal weights of standard deviation 0.02 by kernel_init",
        cause="initialisation",
        pair=MLP_PAIR,
        level="init",
        where=("fc2.weight",),
        port=lambda: MLP(fc2=_stock(WIDTH, WIDTH, kernel_init=jax.nn.initializers.normal(0.02))),
    ),
    Fault(
        name="operands of a product rounded to bfloat16",
        cause="matmul-precision",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: MLP(fc2=_stock(WIDTH, WIDTH, dot_general=rounded(jnp.bfloat16))),
    ),
    Fault(
        name="layer with dtype=float32 in a float64 run",
        cause="dtype",
        pair=MLP_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: MLP(fc2=_stock(WIDTH, WIDTH, dtype=jnp.float32)),
    ),
    Fault(
        name="layer with dtype=bfloat16",
        cause="dtype",
        pair=FLOAT32_PAIR,
        level="forward",
        where=("fc2",),
        port=lambda: MLP(fc2=_stock(WIDTH, WIDTH, dtype=jnp.bfloat16)),
    ),
    Fault(
        name="parameters kept in bfloat16",
        cause="dtype",
        pair=FLOAT32_PAIR,
        level="weights",
        where=("fc3.weight",),
        port=lambda: MLP(fc3=_stock(WIDTH, CLASSES, param_dtype=jnp.bfloat16)),
    ),
    Fault(
        name="inputs cast to float32 in a float64 run",
        cause="dtype",
        pair=MLP_PAIR,
        level="forward",
        where=("fc1",),
        port=Float32Inputs,
    ),
)
