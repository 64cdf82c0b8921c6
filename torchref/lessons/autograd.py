"""Automatic derivatives: of a number, of a network's weights, of its inputs; and a backward pass taken twice."""

import torch
from torch import nn

from jaxnn import course
from torchref.lessons.tabular import problem


def run(*, seed: int) -> course.Lesson:
    # A function of one number: requires_grad says that it may be differentiated.
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    y = x**2
    [slope] = torch.autograd.grad(y, x)

    # The weights of a module require gradients by themselves; inputs only if they are told to.
    net, inputs, labels = problem(seed)
    inputs.requires_grad_()
    criterion = nn.CrossEntropyLoss()
    loss = criterion(net(inputs), labels)
    weight = net.linear1.weight
    before = weight.grad
    loss.backward()
    assert weight.grad is not None and inputs.grad is not None

    # The backward pass has freed what the forward pass had kept.
    try:
        loss.backward()
        error = "none"
    except RuntimeError as found:
        error = f"RuntimeError: {str(found).partition(' (')[0]}"

    # Unless it is told to keep it.
    loss = criterion(net(inputs), labels)
    [first] = torch.autograd.grad(loss, weight, retain_graph=True)
    [second] = torch.autograd.grad(loss, weight)

    words = {
        "before": str(before),
        "constants": f"labels.requires_grad is {labels.requires_grad}, so the labels have no gradient",
        "again": "with retain_graph=True it runs again, to the same gradient; backward() would add it to .grad",
        "error": error,
    }
    numbers = {
        "slope": slope,
        "loss": loss.detach(),
        "shape": weight.grad.shape,
        "weight_gradient": weight.grad,
        "input_gradient": inputs.grad,
        "first": first[0, 0],
        "second": second[0, 0],
    }
    return course.lesson(numbers, words)
