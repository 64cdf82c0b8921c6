"""What runs where: the devices there are, tensors moved to one, a step computed on it, numbers back on the host."""

import torch
from torch import nn

from jaxnn import course
from torchref.lessons.tabular import problem

LEARNING_RATE = 0.1


def run(*, seed: int) -> course.Lesson:
    # A GPU if there is one.
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    gpus = [f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())]

    # From the host to the device: tensors one by one, of a network all of them.
    net, new, labels = problem(seed)
    net.to(device)
    inputs, labels = new.to(device), labels.to(device)

    # A step on the device: a computation runs where its operands are, and leaves its results there.
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)  # after net.to, with the weights that are there
    before = criterion(net(inputs), labels)
    before.backward()
    optimizer.step()
    after = criterion(net(inputs), labels)
    if device.type == "cuda":
        torch.cuda.synchronize()  # a call returns before its result is there; to read a result is to wait for it too

    # Back to the host.
    bias = net.output.bias.detach().cpu().numpy()

    numbers = {
        "input_bytes": inputs.nbytes,
        "weight_bytes": sum(weight.nbytes for weight in net.parameters()),
        "before": before.detach().cpu(),
        "after": after.detach().cpu(),
        "bias": bias,
    }
    words = {
        "devices": ", ".join(["cpu", *gpus]),
        "chosen": f'Taken here, by "cuda:0" if torch.cuda.is_available() else "cpu": {device}',
        "new": f"PyTorch has put it on {new.device}, whatever else there is, for want of device=",
        "move": "x.to(device) gives back a tensor there, x itself if it is; net.to(device) changes the network itself",
        "result": str(after.device),
        "mixed": "Tensors on different devices do not mix: a RuntimeError",
        "wait": "On a GPU a call returns before its result is there; x.cpu() and torch.cuda.synchronize() wait for it",
        "back": f"x.detach().cpu().numpy(), which {'may' if bias.flags.writeable else 'may not'} be written to",
        "several": "Over several devices: nn.parallel.DistributedDataParallel, with a process for each",
    }
    return course.lesson(numbers, words)
