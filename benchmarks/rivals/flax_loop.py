"""A plain flax NNX loop, as the tutorial has it: nnx.Optimizer, one nnx.jit call a step, batches from the host."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxnn import models, precision
from jaxnn.data import Dataset
from jaxnn.recipe import LeNet, Recipe
from jaxnn.torch_random import TorchGenerator

from . import flax_models
from .layout import to_nnx, to_torch
from .prepared import NotMeasurable, Prepared


def prepare(recipe: Recipe, dataset: Dataset) -> Prepared:
    """Starts from the weights, and sees the batches, that the seed gives the other rivals."""
    generator = TorchGenerator(recipe.seed)
    shape, outputs = dataset.input_shape, len(dataset.classes)
    dtypes = precision.DTYPES[recipe.precision]
    drawn = models.build(recipe.model, input_shape=shape, outputs=outputs, rngs=generator, param_dtype=dtypes.param)
    model = flax_models.build(recipe.model, shape, outputs, param=dtypes.param, compute=dtypes.compute)
    flattened = _flattened(recipe, shape)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    weights = to_nnx(to_torch(nnx.to_pure_dict(nnx.state(drawn, nnx.Param))), params, flattened)
    state = nnx.state(model, nnx.Param)
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, weights))
    nnx.update(model, state)
    optimizer = nnx.Optimizer(model, _transformation(recipe), wrt=nnx.Param)
    loss_of = _loss(recipe)

    @nnx.jit
    def train_step(model: Any, optimizer: Any, batch: dict[str, Any]) -> jax.Array:
        def loss_fn(model: Any) -> jax.Array:
            logits = model(batch["image"])
            return loss_of(logits.astype(dtypes.param), batch["label"])

        loss, grads = nnx.value_and_grad(loss_fn)(model)
        optimizer.update(model, grads)
        return loss

    count, done = len(dataset.train), 0
    size = min(recipe.batch_size or count, count)
    full = count // size
    order = generator.epoch_order(count, shuffle=recipe.shuffle)[: full * size].reshape(full, size)

    def run(steps: int) -> np.ndarray:
        nonlocal done
        values = []
        for _ in range(steps):
            examples = order[done % full]
            batch = {"image": _scaled(dataset.train.inputs[examples], recipe), "label": dataset.train.labels[examples]}
            values.append(train_step(model, optimizer, batch))
            done += 1
        jax.block_until_ready((nnx.state(model), nnx.state(optimizer)))
        return np.array(jax.device_get(values))

    return Prepared(run, lambda: to_torch(nnx.to_pure_dict(nnx.state(model, nnx.Param)), flattened))


def _scaled(inputs: np.ndarray, recipe: Recipe) -> np.ndarray:
    """ToTensor and Normalize on the host."""
    floats = np.float64 if recipe.precision == "float64" else np.float32
    if inputs.dtype != np.uint8:
        return inputs.astype(floats)
    images = inputs.astype(floats) / floats(255)
    spec = recipe.input
    if (spec.mean, spec.std) == (0.0, 1.0):
        return images
    return (images - np.asarray(spec.mean, floats)) / np.asarray(spec.std, floats)


def _transformation(recipe: Recipe) -> optax.GradientTransformation:
    optimizer, options = recipe.optimizer, recipe.optimizer.options
    if optimizer.name == "sgd" and not set(k for k, v in options.items() if v) - {"momentum"}:
        return optax.sgd(optimizer.learning_rate, momentum=options.get("momentum") or None)
    if optimizer.name == "adam":
        return optax.adam(optimizer.learning_rate)
    raise NotMeasurable(f"the flax loop is written for SGD with momentum and for Adam, not for {optimizer.name}")


def _loss(recipe: Recipe) -> Callable[[jax.Array, jax.Array], jax.Array]:
    match recipe.loss.name:
        case "nll":
            return lambda outputs, labels: -jnp.mean(jnp.take_along_axis(outputs, labels[:, None], axis=1))
        case "cross_entropy":
            return lambda outputs, labels: optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()
        case "mse":
            return lambda outputs, labels: jnp.mean((outputs - jax.nn.one_hot(labels, outputs.shape[1])) ** 2)
    raise NotMeasurable(f"the flax loop is not written for the loss {recipe.loss.name}")


def _flattened(recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    if not isinstance(recipe.model, LeNet):
        return None
    channels = recipe.model.channels[1]
    side = int((recipe.model.flat_features(shape) / channels) ** 0.5)
    return channels, side, side
