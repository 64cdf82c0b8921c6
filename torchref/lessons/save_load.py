"""What a file must hold: weights, a training to go on with, or a whole model; and the two modes of a network."""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from jaxnn import course, data

ROWS, BATCH_SIZE, HALF = 640, 32, 3  # epochs in each half of the training
WORDS = {
    "checkpoint": "torch.save of a dict: both state_dicts and torch.get_rng_state()",
    "weights": "torch.save(net.state_dict(), FILE)",
    "whole": "torch.save(net, FILE) pickles the object. To read it takes the class Net where it was, and trust,\n"
    "for a pickle can run any code: torch.load(FILE, weights_only=False)",
    "eval": "net.eval()",
    "train": "net.train()",
}


class Net(nn.Module):
    """784-24-10: fc1, norm, ReLU, dropout, fc2."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 24)
        self.norm = nn.BatchNorm1d(24)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(F.relu(self.norm(self.fc1(x)))))


def sgd(net: Net) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def train(net: Net, optimizer: torch.optim.Optimizer, batches: DataLoader) -> list[Tensor]:
    """Half of the training, and the mean loss of each epoch."""
    epochs = []
    for _ in range(HALF):
        values = []
        for X, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(X), y)
            loss.backward()
            optimizer.step()
            values.append(loss.detach())
        epochs.append(torch.stack(values).mean())
    return epochs


def run(*, seed: int) -> course.Lesson:
    digits = data.load("digits")
    images = torch.tensor(digits.train.inputs[:ROWS]).double().reshape(-1, 784) / 255
    test_images = torch.tensor(digits.test.inputs).double().reshape(-1, 784) / 255
    labels, test_labels = torch.tensor(digits.train.labels[:ROWS]).long(), torch.tensor(digits.test.labels)
    batches = DataLoader(TensorDataset(images, labels), batch_size=BATCH_SIZE, shuffle=True)
    torch.manual_seed(seed)
    net = Net().double()
    optimizer = sgd(net)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        # A training, saved in its middle: its state, and where the random stream is. Then on, uninterrupted.
        first = train(net, optimizer, batches)
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "stream": torch.get_rng_state()}
        torch.save(state, folder / "checkpoint.pt")
        torch.save(net.state_dict(), folder / "weights.pt")
        second = train(net, optimizer, batches)

        # On from the file.
        saved = torch.load(folder / "checkpoint.pt")  # nosec B614  # the file was written above
        resumed = Net().double()
        resumed.load_state_dict(saved["net"])
        resumed_optimizer = sgd(resumed)
        resumed_optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["stream"])
        resumed_losses = train(resumed, resumed_optimizer, batches)

        # On from weights and buffers alone: the momentum starts anew.
        weights = torch.load(folder / "weights.pt")  # nosec B614  # the same
        other = Net().double()
        other.load_state_dict(weights)
        torch.set_rng_state(saved["stream"])
        without = train(other, sgd(other), batches)

        # A whole model.
        net.eval()
        torch.save(net, folder / "model.pt")
        model = torch.load(folder / "model.pt", weights_only=False)  # nosec B614  # the same; the lesson says what to fear

    # The modes. In training dropout drops, and BatchNorm takes the batch's statistics and moves its own.
    with torch.no_grad():
        output, outputs = net(test_images), model(test_images)
        mean = net.norm.running_mean.clone()  # type: ignore[union-attr]
        model.train()
        train_first = model(test_images)
        moved = model.norm.running_mean.clone()
        train_second = model(test_images)
        pairs = zip(net.state_dict().values(), resumed.state_dict().values(), strict=True)
        difference = max(float((a - b).abs().max()) for a, b in pairs)
    numbers = {
        "keys": len(weights),
        "first": first,
        "second": second,
        "resumed": resumed_losses,
        "without": without,
        "difference": difference,
        "output": output[0],
        "model_output": outputs[0],
        "train_first": train_first[0],
        "train_second": train_second[0],
        "mean": mean[:5],
        "moved": moved[:5],
        "accuracy": (outputs.argmax(dim=1) == test_labels).double().mean(),
        "train_accuracy": (train_first.argmax(dim=1) == test_labels).double().mean(),
    }
    return course.lesson(numbers, WORDS)
