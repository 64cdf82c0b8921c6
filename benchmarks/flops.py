"""The model's own floating-point operations in one training step, counted from its jaxpr.

Only matrix products and convolutions, forward and backward, with the convolutions as lax computes them: what the
blocked method computes besides does not count, nor do products with padding.
"""

import math
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxnn import experiment, models, precision
from jaxnn.data import Dataset
from jaxnn.nn.conv_method import conv_method
from jaxnn.recipe import Recipe


def of_step(recipe: Recipe, dataset: Dataset) -> int:
    """Of one step of ``recipe`` on a full batch: a multiplication and an addition are two."""
    ready, state = experiment.build(recipe, dataset, precision.DTYPES[recipe.precision])
    part = ready.epoch_parts(1)[0][0]
    record = experiment.empty_record(len(part.examples), ready.dtypes)
    with conv_method("lax"):
        jaxpr = jax.make_jaxpr(lambda state, record: ready.advance(state, record, part, 0, 1))(state, record)
    return count(jaxpr.jaxpr)


def of_shapes(recipe: Recipe, input_shape: tuple[int, ...], outputs: int) -> tuple[int, int]:
    """(parameters, operations of a training step on a full batch), of shapes alone: nothing is drawn or computed."""
    network = nnx.eval_shape(
        lambda: models.build(recipe.model, input_shape=input_shape, outputs=outputs, rngs=nnx.Rngs(0))
    )
    network.eval()  # dropout and BatchNorm's statistics are no products
    graph, params, rest = nnx.split(network, nnx.Param, ...)

    def total(params: Any, rest: Any, inputs: jax.Array) -> jax.Array:
        return nnx.merge(graph, params, rest)(inputs).sum()

    inputs = jax.ShapeDtypeStruct((recipe.batch_size or 1, *input_shape), "float32")
    with conv_method("lax"):
        jaxpr = jax.make_jaxpr(jax.grad(total))(params, rest, inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(params)), count(jaxpr.jaxpr)


def count(jaxpr: Any) -> int:
    """Of a jaxpr and all that it calls; a loop whose length is not in it counts as one pass."""
    total = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            total += _dot_general(equation)
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "cond":
            total += max(count(branch.jaxpr) for branch in equation.params["branches"])
        else:
            times = equation.params["length"] if name == "scan" else 1
            total += times * sum(count(inner) for inner in _inner(equation.params.values()))
    return total


def _inner(values: Any) -> list[Any]:
    found = []
    for value in values:
        if isinstance(value, tuple | list):
            found += _inner(value)
        elif hasattr(value, "jaxpr"):
            found.append(value.jaxpr)
        elif hasattr(value, "eqns"):
            found.append(value)
    return found


def _dot_general(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: Any) -> int:
    parameters = equation.params
    numbers = parameters["dimension_numbers"]
    left, right = (variable.aval.shape for variable in equation.invars)
    out = equation.outvars[0].aval.shape
    products = out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * right[numbers.rhs_spec[1]]
    for axis, (before, _) in enumerate(parameters["padding"]):
        products *= _taps(
            size=left[numbers.lhs_spec[2 + axis]],
            kernel=right[numbers.rhs_spec[2 + axis]],
            output=out[numbers.out_spec[2 + axis]],
            stride=parameters["window_strides"][axis],
            before=before,
            holes=(parameters["lhs_dilation"][axis], parameters["rhs_dilation"][axis]),
        )
    return 2 * products


def _taps(*, size: int, kernel: int, output: int, stride: int, before: int, holes: tuple[int, int]) -> int:
    """How many pairs of an output and a kernel element along one axis meet an input, neither padding nor a hole."""
    positions = np.arange(output)[:, None] * stride - before + np.arange(kernel) * holes[1]
    inside = (positions >= 0) & (positions <= (size - 1) * holes[0]) & (positions % holes[0] == 0)
    return int(inside.sum())
