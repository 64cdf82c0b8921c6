"""What a file must hold: weights, a training to go on with, or a whole model; and the two modes of a network."""

import tempfile
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxnn import course, data
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.interop import weights
from jaxnn.interop.state_dict import rules, to_nnx, to_torch
from jaxnn.lessons.regularized import RATE, WIDTH, Net, State, definition, forward, initial_state, optimizer, step
from jaxnn.torch_random import TorchGenerator

ROWS, BATCH_SIZE, HALF = 640, 32, 3  # epochs in each half of the training
WORDS = {
    "checkpoint": "jaxnn.checkpoint.Checkpoints, by orbax",
    "weights": "a .safetensors file",
    "whole": "jax.export writes the function of the network with its weights as StableHLO. To run it takes JAX,\n"
    "but none of the code that made it: jax.export.deserialize(bytearray(FILE)).call(inputs)",
    "eval": "net.eval()",
    "train": "net.train()",
}


def run(*, seed: int) -> course.Lesson:
    digits = data.load("digits")
    images, labels = digits.train.inputs[:ROWS].reshape(-1, 784) / 255, digits.train.labels[:ROWS]
    test_images, test_labels = digits.test.inputs.reshape(-1, 784) / 255, digits.test.labels
    generator = TorchGenerator(seed)
    net = Net(generator)
    names = rules(net)  # PyTorch's names and layout
    start = initial_state(net)
    in_training = definition(net)
    net.eval()
    in_evaluation = definition(net)

    def mask(rows: int) -> np.ndarray:
        return generator.bernoulli((rows, WIDTH), 1 - RATE)

    def train(state: State) -> tuple[State, list[np.ndarray]]:
        """Half of the training, and the mean loss of each epoch."""
        epochs = []
        for _ in range(HALF):
            values = []
            for rows in generator.epoch_order(ROWS, shuffle=True).reshape(-1, BATCH_SIZE):
                state, value = step(in_training, state, images[rows], labels[rows], mask(BATCH_SIZE))
                values.append(value)
            epochs.append(np.mean(values))
        return state, epochs

    def predict(state: State, x: jax.Array | np.ndarray) -> jax.Array:
        return forward(in_evaluation, state.params, state.buffers, x)[0]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        # A training, saved in its middle: its state, and where the random stream is. Then on, uninterrupted.
        half, first = train(start)
        with Checkpoints(folder / "checkpoints") as checkpoints:
            checkpoints.save(Saved(HALF, half, None, generator.state()))
            trained, second = train(half)
            saved = checkpoints.restore(HALF, half)

        # On from the file.
        generator.restore(saved.position)
        resumed, resumed_losses = train(saved.state)

        # On from weights and buffers alone: the momentum starts anew.
        weights.write(folder / "weights.safetensors", to_torch(names, half.params, half.buffers))
        arrays = weights.read(folder / "weights.safetensors", notice=lambda text: None)
        params, buffers = to_nnx(names, arrays, start.params), to_nnx(names, arrays, start.buffers)
        generator.restore(saved.position)
        _, without = train(State(params, buffers, optimizer.init(params)))

        # A whole model, for any number of digits at a time.
        [batch] = jax.export.symbolic_shape("batch")
        program = jax.export.export(jax.jit(lambda x: predict(trained, x)))(
            jax.ShapeDtypeStruct((batch, 784), jnp.float64)
        )
        (folder / "model.stablehlo").write_bytes(program.serialize())
        model = jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
        outputs = model.call(test_images)

    # The modes. In training dropout drops, and BatchNorm takes the batch's statistics and moves its own.
    train_first, moved = forward(in_training, trained.params, trained.buffers, test_images, mask(len(test_images)))
    train_second, _ = forward(in_training, trained.params, moved, test_images, mask(len(test_images)))
    numbers = {
        "keys": len(arrays),
        "first": first,
        "second": second,
        "resumed": resumed_losses,
        "without": without,
        "difference": max(abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (trained, resumed)), strict=True)),
        "output": predict(trained, test_images)[0],
        "model_output": outputs[0],
        "train_first": train_first[0],
        "train_second": train_second[0],
        "mean": trained.buffers["norm"]["mean"][:5],
        "moved": moved["norm"]["mean"][:5],
        "accuracy": (np.asarray(outputs).argmax(axis=1) == test_labels).mean(),
        "train_accuracy": (np.asarray(train_first).argmax(axis=1) == test_labels).mean(),
    }
    return course.lesson(numbers, WORDS)
