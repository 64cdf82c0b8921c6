"""Full batch, mini-batches and single examples: how each walks to the minimum, and how many steps an epoch has."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from jaxnn import course, data

LEARNING_RATE, EPOCHS = 0.5, 15
BATCH_SIZES = {"full": None, "mini": 32, "single": 1}


def loss(w: Tensor, X: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of a logistic regression with two weights: X (batch, 2), y (batch,) of 0 and 1.

    Of weights (..., 2) at once: (...).
    """
    z = w @ X.T  # (..., batch)
    return (torch.logaddexp(torch.zeros_like(z), z) - y * z).mean(dim=-1)


def run(*, seed: int) -> course.Lesson:
    # Tumors by the mean radius and the mean texture of their cells, standardized.
    train = data.load("breast-cancer").train
    X = torch.tensor(train.inputs[:, :2], dtype=torch.float64)
    X = (X - X.mean(dim=0)) / X.std(dim=0, correction=0)
    y = torch.tensor(train.labels, dtype=torch.float64)
    m = len(y)

    numbers = {"examples": m, "epochs": EPOCHS}
    for name, batch_size in BATCH_SIZES.items():
        batch_size = batch_size or m
        torch.manual_seed(seed)
        batches = DataLoader(TensorDataset(X, y), batch_size=batch_size, shuffle=True)
        w = torch.tensor([2.0, 2.0], dtype=torch.float64, requires_grad=True)
        path = [w.detach()]
        for _ in range(EPOCHS):
            for batch_x, batch_y in batches:
                [gradient] = torch.autograd.grad(loss(w, batch_x, batch_y), w)
                w = (w - LEARNING_RATE * gradient).detach().requires_grad_()
                path.append(w.detach())
        path = torch.stack(path)
        numbers |= {f"{name}_size": batch_size, f"{name}_steps": len(batches), f"{name}_path": path}
        numbers |= {f"{name}_losses": loss(path, X, y)}

    # The loss all around, for the picture.
    w1 = torch.linspace(-9.0, 3.0, 81, dtype=torch.float64)
    w2 = torch.linspace(-5.0, 3.0, 71, dtype=torch.float64)
    around = loss(torch.stack(torch.meshgrid(w1, w2, indexing="xy"), dim=-1), X, y)
    numbers |= {"w1": w1, "w2": w2, "around": around}
    return course.lesson(numbers, {"batches": "a DataLoader"})
