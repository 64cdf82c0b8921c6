"""LeNet on a random picture: its parameters, a backward pass, a step by hand, then an optimizer's."""

import copy
import textwrap
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn, optim

from jaxnn import course, recipe
from torchref.models import LeNet

LEARNING_RATE, STEPS = 0.01, 20
OPTIMIZERS = {
    "sgd": lambda params: optim.SGD(params, lr=LEARNING_RATE),
    "nesterov": lambda params: optim.SGD(params, lr=LEARNING_RATE, momentum=0.9, nesterov=True),
    "adam": lambda params: optim.Adam(params, lr=1e-3),
    "rmsprop": lambda params: optim.RMSprop(params, lr=1e-3),
}


def ancestors(node: Any) -> Iterator[str]:
    """From a grad_fn back to the first layer, past the weights on the way."""
    while node is not None:
        yield type(node).__name__
        before = [node for node, _ in node.next_functions if node is not None]
        aside = ("AccumulateGrad", "TBackward0")  # weights and transposed weights
        node = next((node for node in before if type(node).__name__ not in aside), None)


def run(*, seed: int) -> course.Lesson:
    # The network, and all that is random: a picture (1, 1, 32, 32), a vector and a target of (1, 10).
    torch.manual_seed(seed)
    net = LeNet(recipe.LeNet(), input_shape=(32, 32, 1), outputs=10).double()
    picture = torch.randn(1, 1, 32, 32).double()
    vector, target = torch.randn(2, 10).double().split(1)
    params = list(net.parameters())

    # Backward with a vector: the gradient of the ten outputs' sum, each weighted by its number in the vector.
    output = net(picture)
    output.backward(vector)
    bias = net.conv1.bias
    assert bias is not None and bias.grad is not None
    of_vector = bias.grad.clone()

    # Gradients are kept in the parameters until they are set to zero, or here to None.
    net.zero_grad()
    before_backward = str(bias.grad)

    # The way from the loss back to the picture, as autograd has noted it.
    criterion = nn.MSELoss()
    loss = criterion(net(picture), target)
    chain = textwrap.fill(" -> ".join(ancestors(loss.grad_fn)), 100, break_on_hyphens=False)

    # Backward from the loss; once more without zero_grad, and the second gradient is added to the first.
    loss.backward()
    gradient = bias.grad.clone()
    criterion(net(picture), target).backward()
    twice = bias.grad.clone()

    # A step by hand.
    by_hand = copy.deepcopy(net)
    by_hand.zero_grad()
    criterion(by_hand(picture), target).backward()
    with torch.no_grad():
        for weight in by_hand.parameters():
            assert weight.grad is not None
            weight -= LEARNING_RATE * weight.grad
        loss_by_hand = criterion(by_hand(picture), target)

    # The loop: zero_grad, forward, backward, step.
    paths = {}
    for name, build in OPTIMIZERS.items():
        trained = copy.deepcopy(net)
        optimizer = build(trained.parameters())
        path = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            value = criterion(trained(picture), target)
            value.backward()
            optimizer.step()
            path.append(value.detach())
        with torch.no_grad():
            paths[name] = torch.stack([*path, criterion(trained(picture), target)])

    assert by_hand.conv1.bias is not None
    numbers = {
        "count": len(params),
        "weights": sum(weight.numel() for weight in params),
        "output": output[0].detach(),
        "of_vector": of_vector,
        "loss": loss.detach(),
        "gradient": gradient,
        "twice": twice,
        "by_hand": loss_by_hand,
        "bias": by_hand.conv1.bias.detach(),
    }
    numbers |= paths
    words = {
        "network": "\n".join(f"  {name}: {layer}" for name, layer in net.named_children()),
        "shapes": f"conv1.weight {tuple(net.conv1.weight.shape)}, conv2.weight {tuple(net.conv2.weight.shape)}",
        "layout": "channels out, channels in, height, width",
        "graph": "The way back, as autograd has noted it (loss.grad_fn and its next_functions)",
        "chain": chain,
        "before": before_backward,
        "accumulate": "Another backward() without zero_grad() adds to it",
        "optimizer": "torch.optim.SGD",
    }
    return course.lesson(numbers, words)
