"""(2 - w1 - w2)^2 + (4 - 3 w1 - w2)^2: a loss of two weights and two examples, and three ways down to its minimum."""

from collections.abc import Callable

import torch
from torch import Tensor

from jaxnn import course

STEPS, START = 120, (-9.0, 7.0)
LEARNING_RATE, GAMMA = 0.01, 0.9


def errors(w: Tensor) -> Tensor:
    """Of the two examples (1, 1) -> 2 and (3, 1) -> 4."""
    return torch.stack([2 - w[0] - w[1], 4 - 3 * w[0] - w[1]])


def loss(w: Tensor) -> Tensor:
    return (errors(w) ** 2).sum(dim=0)


def loss_of_example(w: Tensor, number: int) -> Tensor:
    return errors(w)[number] ** 2


def descend(loss: Callable[[Tensor, int], Tensor], gamma: float = 0.0) -> Tensor:
    """The points that torch.optim.SGD passes on ``loss(w, step)``: (steps + 1, 2)."""
    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=LEARNING_RATE, momentum=gamma)
    path = [w.detach().clone()]
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(w, step).backward()
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path)


def run(*, seed: int) -> course.Lesson:
    torch.manual_seed(seed)
    picked = torch.randint(0, 2, (STEPS,)).tolist()  # a batch of one of the two examples; doubled, right on average
    paths = {
        "gd": descend(lambda w, step: loss(w)),
        "momentum": descend(lambda w, step: loss(w), GAMMA),
        "minibatch": descend(lambda w, step: 2 * loss_of_example(w, picked[step])),
    }
    numbers = {f"{name}_path": path for name, path in paths.items()}
    numbers |= {f"{name}_losses": loss(path.T) for name, path in paths.items()}

    axis = torch.linspace(-10.0, 10.0, 81, dtype=torch.float64)
    numbers |= {"axis": axis, "surface": loss(torch.stack(torch.meshgrid(axis, axis, indexing="xy")))}
    origin = torch.zeros(2, dtype=torch.float64)
    slopes, curvatures = torch.func.jacfwd(errors)(origin), torch.func.hessian(loss)(origin)
    numbers |= {"minimum": torch.linalg.solve(-slopes, errors(origin))}  # both errors are 0
    numbers |= {"curvatures": torch.linalg.eigvalsh(curvatures)}
    return course.lesson(numbers, {"hessian": "torch.func.hessian"})
