"""A trained network judged on examples it has not seen: accuracy, that of each class, and single predictions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxnn import course, data, losses, models, optim, recipe
from jaxnn.torch_random import TorchGenerator

EPOCHS, BATCH_SIZE = 10, 16
SHOWN = (5, 3, 0)  # of the last batch of the test set


def run(*, seed: int) -> course.Lesson:
    # Handwritten digits from 0 to 1, and a network of log-probabilities.
    digits = data.load("digits")
    train_inputs, test_inputs = digits.train.inputs / 255, digits.test.inputs / 255  # float64
    train_labels, test_labels = digits.train.labels, digits.test.labels
    generator = TorchGenerator(seed)
    net = models.build(
        recipe.MnistMLP(), input_shape=digits.input_shape, outputs=10, rngs=generator, param_dtype=jnp.float64
    )
    definition, params, others = nnx.split(net, nnx.Param, ...)

    # Training: what is compiled once is called for each batch.
    @jax.jit
    def predict(params: Any, inputs: jax.Array) -> jax.Array:
        return nnx.merge(definition, params, others)(inputs)  # type: ignore[operator]

    optimizer = optim.adam(1e-3)

    @jax.jit
    def step(params: Any, state: Any, inputs: jax.Array, labels: jax.Array) -> tuple[Any, Any, jax.Array]:
        def loss(params: Any) -> jax.Array:
            return losses.nll_loss(predict(params, inputs), labels)

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    state = jax.jit(optimizer.init)(params)
    epochs = []
    for _ in range(EPOCHS):
        order = generator.epoch_order(len(train_labels), shuffle=True)
        values = []
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            params, state, value = step(params, state, train_inputs[rows], train_labels[rows])
            values.append(value)
        epochs.append(np.mean(values))

    # Accuracy: how often the most probable class is the right one. The results come to the host, as NumPy arrays.
    log_probs = np.asarray(predict(params, test_inputs))  # (360, 10)
    predicted = log_probs.argmax(axis=1)
    correct = predicted == test_labels
    class_correct = np.bincount(test_labels[correct], minlength=10)
    class_total = np.bincount(test_labels, minlength=10)

    # Three pictures of the last batch, and the one whose class the network finds the least probable.
    last = len(test_labels) - BATCH_SIZE
    worst = int(log_probs[np.arange(len(test_labels)), test_labels].argmin())
    shown = [*(last + number for number in SHOWN), worst]
    numbers = {
        "batch_size": BATCH_SIZE,
        "losses": epochs,
        "total": len(test_labels),
        "correct": correct.sum(),
        "accuracy": correct.mean(),
        "classes": range(10),
        "of_class": class_correct / class_total,
        "class_total": class_total,
        "shown": shown,
        "true": test_labels[shown],
        "predicted": predicted[shown],
        "pictures": digits.test.inputs[shown, :, :, 0],
        "log_probs": log_probs[shown],
        "sum": np.exp(log_probs[shown[2]]).sum(),
    }
    return course.lesson(numbers, {"no_gradient": "a network is a function; without jax.grad there are no gradients"})
