"""Data in batches: their size, the last one, a new order for each epoch; TensorDataset and DataLoader do it."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from jaxnn import course

ROWS, BATCH_SIZE = 500, 120


def run(*, seed: int) -> course.Lesson:
    # Inputs (500, 20), labels (500, 1), and here the number of each row: what is packed has as many rows.
    torch.manual_seed(seed)
    X = (torch.rand((ROWS, 20)) * 100).double()
    y = torch.randint(low=0, high=3, size=(ROWS, 1))
    dataset = TensorDataset(X, y, torch.arange(ROWS))
    first_x, first_y, _ = dataset[0]

    # The last batch: kept as it is, or dropped.
    in_order = [rows for _, _, rows in DataLoader(dataset, batch_size=BATCH_SIZE)]
    dropped = [rows for _, _, rows in DataLoader(dataset, batch_size=BATCH_SIZE, drop_last=True)]

    # Shuffled: two epochs, each in an order of its own, drawn from the stream of torch.manual_seed.
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True)
    first, second = list(loader), list(loader)
    epochs = torch.stack([torch.cat([rows for _, _, rows in batches]) for batches in (first, second)])  # (2, 500)
    x_batch, y_batch, _ = first[0]

    # Two more, without their last batch: each leaves other rows out.
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    left_out = []
    for _ in range(2):
        seen = torch.cat([rows for _, _, rows in loader])
        left_out.append(np.setdiff1d(np.arange(ROWS), seen))

    # Anything with a length and [i] will do, and its numbers keep their type.
    array: Any = np.zeros((5, 2))
    single = next(iter(DataLoader(array)))

    words = {
        "packed": "TensorDataset(X, y) packs tensors of equal length; dataset[i] is the tuple (X[i], y[i])",
        "batch": "`for x, y in loader` gives each batch as two tensors",
        "dtypes": f"DataLoader keeps the type of an array: of NumPy's float64 it makes {single.dtype}",
        "default": f"DataLoader's own batch_size is {len(single)}, shuffle False, drop_last False",
        "order": "Each `for` over the loader draws a new order; torch.manual_seed decides which",
    }
    numbers = {
        "first_x": first_x[:5],
        "first_y": first_y,
        "kept": [len(rows) for rows in in_order],
        "dropped": [len(rows) for rows in dropped],
        "steps_50000": len(DataLoader(range(50_000), batch_size=4000)),  # type: ignore[arg-type]
        "steps_569": len(DataLoader(range(569), batch_size=5)),  # type: ignore[arg-type]
        "first_in_order": in_order[0][:16],
        "first_rows": epochs[:, :16],
        "epochs": epochs,
        "x_shape": x_batch.shape,
        "y_shape": y_batch.shape,
        "x_mean": x_batch.mean(),
        "first_classes": y_batch[:16, 0],
        "left_out": left_out,
        "left_out_twice": len(np.intersect1d(*left_out)),
    }
    return course.lesson(numbers, words)
