"""A trained network judged on examples it has not seen: accuracy, that of each class, and single predictions."""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from jaxnn import course, data, recipe
from torchref.models import MnistMLP

EPOCHS, BATCH_SIZE = 10, 16
SHOWN = (5, 3, 0)  # of the last batch of the test set


def run(*, seed: int) -> course.Lesson:
    # Handwritten digits from 0 to 1, and a network of log-probabilities.
    digits = data.load("digits")
    train, test = (
        TensorDataset(torch.tensor(split.inputs[..., 0]).double() / 255, torch.tensor(split.labels).long())
        for split in (digits.train, digits.test)
    )
    torch.manual_seed(seed)
    net = MnistMLP(recipe.MnistMLP(), input_shape=digits.input_shape, outputs=10).double()
    trainset = DataLoader(train, batch_size=BATCH_SIZE, shuffle=True)
    testset = DataLoader(test, batch_size=BATCH_SIZE)

    # Training.
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    epochs = []
    for _ in range(EPOCHS):
        values = []
        for X, y in trainset:
            optimizer.zero_grad()
            loss = F.nll_loss(net(X), y)
            loss.backward()
            optimizer.step()
            values.append(loss.detach())
        epochs.append(torch.stack(values).mean())

    # Accuracy: how often the most probable class is the right one. Without gradients, which nothing here needs.
    correct, class_correct, class_total, outputs = 0, torch.zeros(10), torch.zeros(10, dtype=torch.long), []
    with torch.no_grad():
        for X, y in testset:
            output = net(X)
            hits = output.argmax(dim=1) == y
            correct += int(hits.sum())
            for label in range(10):
                class_correct[label] += hits[y == label].sum()
                class_total[label] += (y == label).sum()
            outputs.append(output)
    log_probs = torch.cat(outputs)  # (360, 10)

    # Three pictures of the last batch, and the one whose class the network finds the least probable.
    labels = test.tensors[1]
    last = len(labels) - BATCH_SIZE
    worst = int(log_probs.gather(1, labels[:, None])[:, 0].argmin())
    shown = [*(last + number for number in SHOWN), worst]
    numbers = {
        "batch_size": BATCH_SIZE,
        "losses": torch.stack(epochs),
        "total": len(labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "classes": range(10),
        "of_class": class_correct.double() / class_total,
        "class_total": class_total,
        "shown": shown,
        "true": labels[shown],
        "predicted": log_probs[shown].argmax(dim=1),
        "pictures": digits.test.inputs[shown, :, :, 0],
        "log_probs": log_probs[shown],
        "sum": torch.exp(log_probs[shown[2]]).sum(),
    }
    return course.lesson(numbers, {"no_gradient": "under torch.no_grad() autograd notes nothing"})
