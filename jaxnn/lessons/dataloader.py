"""Data in batches: their size, the last one, a new order for each epoch; arrays and numbers of rows do it."""

import jax.numpy as jnp
import numpy as np

from jaxnn import course, recipes
from jaxnn.data.order import Batching, batching
from jaxnn.torch_random import TorchGenerator

ROWS, BATCH_SIZE = 500, 120
RECIPE = recipes.get("tabular-minibatch")  # says how an epoch is cut: batch_size, shuffle, drop_last

WORDS = {
    "packed": "X and y stay two arrays of equal length; example i is (X[i], y[i])",
    "batch": "A batch is an array of row numbers, rows; its inputs are X[rows], its labels y[rows]",
    "dtypes": "jnp.asarray makes float32 of NumPy's float64, unless jax_enable_x64 is set",
    "default": "In jaxnn the recipe holds batch_size (None: all rows at once), shuffle and drop_last",
    "order": "TorchGenerator.epoch_order gives the order that a DataLoader draws from the same seed",
}


def cut(order: np.ndarray, batches: Batching) -> list[np.ndarray]:
    """The row numbers of each batch; what ``drop_last`` leaves out is beyond ``batches.examples``."""
    size = batches.batch_size
    return [order[start : start + size] for start in range(0, batches.examples, size)]


def run(*, seed: int) -> course.Lesson:
    # Inputs (500, 20), labels (500, 1): what is packed has as many rows.
    generator = TorchGenerator(seed)
    X = jnp.asarray(generator.rand((ROWS, 20)) * np.float32(100), jnp.float64)
    y = jnp.asarray(generator.randint(0, 3, (ROWS, 1)))

    # The last batch: kept as it is, or dropped. An epoch in order advances the stream too, as DataLoader's does.
    keeping = batching(ROWS, RECIPE.replace(batch_size=BATCH_SIZE))
    dropping = batching(ROWS, RECIPE.replace(batch_size=BATCH_SIZE, drop_last=True))
    in_order = cut(generator.epoch_order(ROWS, shuffle=False), keeping)
    dropped = cut(generator.epoch_order(ROWS, shuffle=False), dropping)

    # Shuffled: two epochs, each in an order of its own, drawn from one stream.
    epochs = [cut(generator.epoch_order(ROWS, shuffle=True), keeping) for _ in range(2)]
    rows = epochs[0][0]
    x_batch, y_batch = X[rows], y[rows]

    # Two more, without their last batch: each leaves other rows out.
    left_out = []
    for _ in range(2):
        seen = np.concatenate(cut(generator.epoch_order(ROWS, shuffle=True), dropping))
        left_out.append(np.setdiff1d(np.arange(ROWS), seen))

    numbers = {
        "first_x": X[0, :5],
        "first_y": y[0],
        "kept": [len(rows) for rows in in_order],
        "dropped": [len(rows) for rows in dropped],
        "steps_50000": batching(50_000, RECIPE.replace(batch_size=4000)).steps,
        "steps_569": batching(569, RECIPE.replace(batch_size=5)).steps,
        "first_in_order": in_order[0][:16],
        "first_rows": [batches[0][:16] for batches in epochs],
        "epochs": [np.concatenate(batches) for batches in epochs],
        "x_shape": x_batch.shape,
        "y_shape": y_batch.shape,
        "x_mean": x_batch.mean(),
        "first_classes": y_batch[:16, 0],
        "left_out": left_out,
        "left_out_twice": len(np.intersect1d(*left_out)),
    }
    return course.lesson(numbers, WORDS)
