"""From one step of gradient descent to momentum, by hand and as the optimizer has it, and where the two part."""

import torch
from torch import Tensor, nn

from jaxnn import course
from torchref.lessons.tabular import problem

STEPS, DROP = 40, 10  # the learning rate falls to a tenth after step DROP
LEARNING_RATE, GAMMA = 0.01, 0.9
START = (-8.0, 6.0)


def surface(w: Tensor) -> Tensor:
    return (2 - w[0] - w[1]) ** 2 + (4 - 3 * w[0] - w[1]) ** 2


def by_hand(learning_rates: list[float]) -> Tensor:
    """v = gamma v - lr g; w = w + v. The points passed, (steps + 1, 2)."""
    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    v = torch.zeros(2, dtype=torch.float64)
    path = [w.detach()]
    for lr in learning_rates:
        [gradient] = torch.autograd.grad(surface(w), w)
        v = GAMMA * v - lr * gradient
        w = (w + v).detach().requires_grad_()
        path.append(w.detach())
    return torch.stack(path)


def by_optimizer(learning_rates: list[float]) -> Tensor:
    """torch.optim.SGD's form: buffer = gamma buffer + g; w = w - lr buffer. The same points."""
    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=LEARNING_RATE, momentum=GAMMA)
    path = [w.detach().clone()]
    for lr in learning_rates:
        optimizer.param_groups[0]["lr"] = lr
        surface(w).backward()
        optimizer.step()
        optimizer.zero_grad()
        path.append(w.detach().clone())
    return torch.stack(path)


def run(*, seed: int) -> course.Lesson:
    # A point moved against its gradient.
    moved = torch.tensor([10.0, 7.5]) - torch.tensor([5.0, 5.0])

    # A step on a network's weights: with a small learning rate nothing seems to change.
    net, inputs, labels = problem(seed)
    criterion = nn.CrossEntropyLoss()
    criterion(net(inputs), labels).backward()
    assert net.linear1.weight.grad is not None
    w, dw = net.linear1.weight.detach().clone(), net.linear1.weight.grad
    changes = [(lr * dw).abs().max() / w.abs().mean() for lr in (0.001, 10.0)]

    # Two forms of momentum, at one learning rate and at one that falls.
    constant = [LEARNING_RATE] * STEPS
    falling = [LEARNING_RATE] * DROP + [LEARNING_RATE / 10] * (STEPS - DROP)
    paths = {
        "by_hand": by_hand(constant),
        "optimizer": by_optimizer(constant),
        "by_hand_falling": by_hand(falling),
        "optimizer_falling": by_optimizer(falling),
    }

    # The optimizer on the network: three rounds of forward, backward, step.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=GAMMA)
    rounds = []
    for _ in range(3):
        optimizer.zero_grad()  # the gradients of the point before
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
        rounds.append(loss.detach())

    numbers = {"moved": moved, "w": w[0, :10], "small": changes[0], "large": changes[1], "drop": DROP} | paths
    numbers |= {"losses": torch.stack(rounds), "weights": net.linear1.weight.detach()[0, :10]}
    return course.lesson(numbers, {"sgd": "torch.optim.SGD"})
