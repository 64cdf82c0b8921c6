"""One training step and one evaluation step: every jit of the training path.

A step knows no files and no epochs, and of several devices only that examples and state are shared among them. It takes
the whole split and the numbers of the examples in each batch, so that data stay where they are (as uint8) and are
gathered, scaled and normalized inside the compiled code. The same step runs alone (``Program.train_step``) or many
times in one compiled loop (``Program.train_steps``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from jaxnn import backbone, losses, optim
from jaxnn.augment import augment
from jaxnn.device_mesh import Devices, OneDevice
from jaxnn.device_split import Split, normalized
from jaxnn.dropout_sites import DropoutSite, dropout_sites
from jaxnn.nn.divided import divided
from jaxnn.nn.dropout import DropoutMask
from jaxnn.nn.interception import intercepted, mark
from jaxnn.precision import Dtypes
from jaxnn.recipe import Recipe

Pytree = Any


Runs = Literal["one", "sharing data", "with own data"]
"""What a program trains: one run, or several together, on one data set or each on its own."""


class TrainState(NamedTuple):
    """All that training changes. ``buffers`` are BatchNorm's running statistics."""

    step: Int[Array, ""]
    params: Pytree
    buffers: Pytree
    optimizer: Pytree


class Record(NamedTuple):
    """What the steps of a segment measured."""

    loss: Float[Array, " steps"]
    correct: Int[Array, " steps"]


class Segment(NamedTuple):
    """Consecutive steps with equal batch sizes: examples, scalars of the optimizer and masks of each step.

    ``order`` None: the split that a step is given is its batch. ``augment``: what jaxnn.data.augment has drawn for each
    example, None without augmentation.
    """

    order: Int[Array, "steps batch"] | None
    scalars: dict[str, Float[Array, " steps"]]
    masks: dict[DropoutSite, Bool[Array, "steps batch *shape"]]
    augment: Int[Array, "steps batch 3"] | None


@dataclass(frozen=True)
class Program:
    """The compiled functions of a recipe on one model, or on those of several runs together.

    Of several runs every argument but ``i``, ``start``, ``stop``, ``examples`` and shared data has an axis of runs
    in front, and so has every result.

    ``train_step(state, record, split, segment, i)`` -> (state, record): step i of the segment.
    ``train_steps(state, record, split, segment, start, stop)``: steps start..stop-1 in one call; the
    bounds are traced, so that any number of steps is the same program.
    ``eval_step(params, buffers, split, examples)`` -> (loss values, loss weights, predictions), each (batch,).
    ``eval_steps``: the same for all rows of ``examples`` in one call, each (batches, batch).
    ``observe_step(state, split, segment, i)``: (name, tensor) of all that a step of a single run computes before the
    update, in order, not compiled; it leaves ``state``.
    ``predict_step(params, buffers, split, examples)`` -> the model's outputs in evaluation mode, (batch, outputs).
    The first two consume ``state`` and ``record``.
    """

    train_step: Callable[..., tuple[TrainState, Record]]
    train_steps: Callable[..., tuple[TrainState, Record]]
    eval_step: Callable[..., tuple[Array, Array, Array]]
    eval_steps: Callable[..., tuple[Array, Array, Array]]
    predict_step: Callable[..., Float[Array, "batch outputs"]]
    observe_step: Callable[..., Iterator[tuple[str, Array]]]
    dropout: list[DropoutSite]


def initial_state(model: nnx.Module, rule: optim.Rule) -> TrainState:
    """The state before the first step. Copies the model's arrays, since the steps consume the state."""
    _, params, _, buffers = nnx.split(model, nnx.Param, DropoutMask, ...)
    params, buffers = jax.tree.map(jnp.array, (nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)))
    return TrainState(jnp.zeros((), jnp.int32), params, buffers, rule.init(params))


def build(
    model: nnx.Module,
    recipe: Recipe,
    rule: optim.Rule,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    dtypes: Dtypes,
    runs: Runs = "one",
    mesh: Mesh | None = None,
    devices: Devices = OneDevice(),  # noqa: B008  # it has no state
) -> Program:
    """The functions of ``recipe`` on ``model``; each is compiled when first called, once for each batch size.

    ``mesh``: devices along "runs", each of which trains its share of several runs. ``devices``: those that share a
    single run.
    """
    loss = losses.build(recipe.loss, classes=classes)
    train_graph, eval_graph = _graphs(model)
    _, _, masks, _ = nnx.split(model, nnx.Param, DropoutMask, ...)
    no_masks = nnx.to_pure_dict(masks)

    def forward(graph: Any, params: Pytree, buffers: Pytree, masks: Pytree, inputs: Array) -> tuple[Array, Pytree]:
        params = devices.gather(params)
        merged = nnx.merge(graph, _lowered(params, dtypes.compute), masks, buffers)
        with divided(devices.of_examples):
            outputs = merged(devices.spread(inputs)).astype(dtypes.param)
        return devices.spread(outputs), nnx.to_pure_dict(nnx.state(merged, nnx.BatchStat))

    def batch(split: Split, segment: Segment, i: Int[Array, ""]) -> tuple[Array, Array, Pytree]:
        """What step ``i`` learns from: inputs, labels, masks."""
        inputs, labels = split.of(None if segment.order is None else devices.spread(segment.order[i]))
        inputs, labels = devices.spread((inputs, labels))
        if segment.augment is not None:
            inputs = augment(inputs, devices.spread(segment.augment[i]), recipe.augment.crop)
        masks = _with_masks(no_masks, {site.path: devices.spread(mask[i]) for site, mask in segment.masks.items()})
        return normalized(inputs, split, recipe.input), labels, masks

    def gradient(
        state: TrainState, trained: Pytree, inputs: Array, labels: Array, masks: Pytree
    ) -> tuple[tuple[Array, tuple[Array, Pytree]], Pytree]:
        """((loss, (outputs, buffers)), the gradients of ``trained``)."""

        def objective(trained: Pytree) -> tuple[Array, tuple[Array, Pytree]]:
            params = backbone.whole(state.params, trained)
            outputs, buffers = forward(train_graph, params, state.buffers, masks, inputs)
            return loss.value(outputs, labels), (outputs, buffers)

        return jax.value_and_grad(objective, has_aux=True)(trained)

    def one_step(
        state: TrainState, record: Record, split: Split, segment: Segment, i: Int[Array, ""]
    ) -> tuple[TrainState, Record]:
        inputs, labels, masks = batch(split, segment, i)
        trained = backbone.trained(state.params, recipe.trained_layer)
        (value, (outputs, buffers)), gradients = gradient(state, trained, inputs, labels, masks)
        clipped = optim.clip(devices.hold(gradients), recipe.clip)
        scalars = {name: values[i] for name, values in segment.scalars.items()}
        updates, optimizer = rule.update(clipped, state.optimizer, trained, scalars)
        params = backbone.whole(state.params, jax.tree.map(jnp.add, trained, updates))
        correct = jnp.sum(losses.predictions(outputs) == labels, dtype=jnp.int32)
        if recipe.on_nan == "skip":
            finite = _all_finite((value, gradients))
            new, old = (params, buffers), (state.params, state.buffers)
            params, buffers = jax.tree.map(partial(jnp.where, finite), new, old)
            optimizer = optim.unless_skipped(finite, optimizer, state.optimizer)
            value, correct = jnp.where(finite, value, jnp.nan), jnp.where(finite, correct, 0)
        record = Record(record.loss.at[i].set(value), record.correct.at[i].set(correct))
        params, optimizer = devices.hold((params, optimizer))
        return TrainState(state.step + 1, params, devices.gather(buffers), optimizer), devices.gather(record)

    def many_steps(
        state: TrainState, record: Record, split: Split, segment: Segment, start: Array, stop: Array
    ) -> tuple[TrainState, Record]:
        def body(i: Array, carry: tuple[TrainState, Record]) -> tuple[TrainState, Record]:
            return one_step(carry[0], carry[1], split, segment, i)

        return jax.lax.fori_loop(start, stop, body, (state, record))

    def observe(state: TrainState, split: Split, segment: Segment, i: Int[Array, ""]) -> Iterator[tuple[str, Array]]:
        inputs, labels, masks = batch(split, segment, i)
        yield "the inputs", inputs
        model = nnx.merge(train_graph, _lowered(state.params, dtypes.compute), masks, state.buffers)
        mark(model)
        outputs: list[tuple[str, Array]] = []

        def call(path: Any, number: int, layer: Callable[..., Any], x: Any) -> Any:
            outputs.append((f"the output of {'.'.join(map(str, path))}", layer(x)))
            return outputs[-1][1]

        with intercepted(model, call):
            model(inputs)
        yield from outputs
        trained = backbone.trained(state.params, recipe.trained_layer)
        (value, _), gradients = gradient(state, trained, inputs, labels, masks)
        yield "the loss", value
        yield from reversed(list(_named("the gradient of {}", gradients)))

    def outputs_of(params: Pytree, buffers: Pytree, split: Split, examples: Array | None) -> tuple[Array, Array]:
        """(outputs, labels)."""
        inputs, labels = devices.spread(split.of(None if examples is None else devices.spread(examples)))
        inputs = normalized(inputs, split, recipe.input)
        return forward(eval_graph, params, buffers, no_masks, inputs)[0], labels

    def predict(params: Pytree, buffers: Pytree, split: Split, examples: Array | None) -> Array:
        return devices.gather(outputs_of(params, buffers, split, examples)[0])

    def evaluate(params: Pytree, buffers: Pytree, split: Split, examples: Array | None) -> tuple[Array, Array, Array]:
        outputs, labels = outputs_of(params, buffers, split, examples)
        return devices.gather((*loss.per_example(outputs, labels), losses.predictions(outputs)))

    def evaluate_all(params: Pytree, buffers: Pytree, split: Split, examples: Array) -> tuple[Array, Array, Array]:
        return jax.lax.map(partial(evaluate, params, buffers, split), examples)

    def compiled(function: Callable[..., Any], axes: str, donated: tuple[int, ...] = ()) -> Callable[..., Any]:
        """``axes``: of each argument, r: its own for each run, d: data, -: the same for all."""
        if runs != "one":
            own = [letter == "r" or (letter == "d" and runs == "with own data") for letter in axes]
            function = jax.vmap(function, in_axes=tuple(0 if each else None for each in own))
            if mesh is not None:
                split, copied = PartitionSpec("runs"), PartitionSpec()
                specs = tuple(split if each else copied for each in own)
                function = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
        return jax.jit(function, donate_argnums=donated)

    return Program(
        train_step=compiled(one_step, "rrdr-", donated=(0, 1)),
        train_steps=compiled(many_steps, "rrdr--", donated=(0, 1)),
        eval_step=compiled(evaluate, "rrd-"),
        eval_steps=compiled(evaluate_all, "rrd-"),
        predict_step=compiled(predict, "rrd-"),
        observe_step=observe,
        dropout=dropout_sites(model, input_shape),
    )


def _all_finite(tree: Pytree) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _named(what: str, tree: Pytree) -> Iterator[tuple[str, Array]]:
    flat: dict[Any, Any] = traverse_util.flatten_dict(tree)
    for path, leaf in flat.items():
        yield what.format(".".join(map(str, path))), leaf


def _graphs(model: nnx.Module) -> tuple[Any, Any]:
    """The model's structure in training and in evaluation mode; leaves it in training mode."""
    model.eval()
    eval_graph = nnx.split(model, nnx.Param, DropoutMask, ...)[0]
    model.train()
    return nnx.split(model, nnx.Param, DropoutMask, ...)[0], eval_graph


def _lowered(params: Pytree, dtype: Any) -> Pytree:
    """The parameters with those of matrix products in ``dtype``, to which these layers bring their inputs.

    What is left in float32 for bfloat16 is left so by torch.autocast: inputs, BatchNorm, log_softmax.
    """
    if not isinstance(params, dict):
        return params
    if "kernel" in params:
        return {name: value.astype(dtype) for name, value in params.items()}
    return {name: _lowered(value, dtype) for name, value in params.items()}


def _with_masks(template: Pytree, masks: dict[tuple[Any, ...], Array]) -> Pytree:
    """The template of mask variables with those in ``masks``, by layer path, filled in."""
    if not masks:
        return template
    flat = traverse_util.flatten_dict(template)
    return traverse_util.unflatten_dict(flat | {(*path, "mask"): mask for path, mask in masks.items()})
