"""Training values against torch.nn's modules; evaluation's mean against them too, over uneven batches."""

import pytest
import torch
from torch import Tensor, nn

from jaxnn.data import UserError
from jaxnn.recipe import Loss
from torchref import losses

_WEIGHT = (0.5, 2.0, 1.0)
_WEIGHTS = torch.tensor(_WEIGHT, dtype=torch.float64)


def _one_hot(labels: Tensor) -> Tensor:
    return torch.eye(3, dtype=torch.float64)[labels]


def _bce(outputs: Tensor, labels: Tensor) -> Tensor:
    return nn.BCELoss()(torch.sigmoid(outputs[:, 0]), labels.double())


def _bce_logits(outputs: Tensor, labels: Tensor) -> Tensor:
    return nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))(outputs[:, 0], labels.double())


# loss, its value on a batch as PyTorch's documentation writes it
CASES = {
    "nll": (Loss(name="nll"), nn.NLLLoss()),
    "nll weight": (Loss(name="nll", weight=_WEIGHT), nn.NLLLoss(_WEIGHTS)),
    "nll ignore": (Loss(name="nll", ignore_index=1), nn.NLLLoss(ignore_index=1)),
    "nll weight ignore": (Loss(name="nll", weight=_WEIGHT, ignore_index=1), nn.NLLLoss(_WEIGHTS, ignore_index=1)),
    "cross-entropy": (Loss(), nn.CrossEntropyLoss()),
    "cross-entropy smoothed": (
        Loss(weight=_WEIGHT, label_smoothing=0.1),
        nn.CrossEntropyLoss(_WEIGHTS, label_smoothing=0.1),
    ),
    "mse": (Loss(name="mse"), lambda o, y: nn.MSELoss()(o, _one_hot(y))),
    "sse": (Loss(name="sse"), lambda o, y: ((o - _one_hot(y)) ** 2).sum(1).mean()),
    "bce": (Loss(name="bce"), _bce),
    "bce logits": (Loss(name="bce_with_logits", pos_weight=3.0), _bce_logits),
}
SUMMED = {
    "cross-entropy": (Loss(weight=_WEIGHT, reduction="sum"), nn.CrossEntropyLoss(_WEIGHTS, reduction="sum")),
    "sse": (Loss(name="sse", reduction="sum"), lambda o, y: ((o - _one_hot(y)) ** 2).sum()),
    "sum": (Loss(name="sum"), lambda o, y: (o - _one_hot(y)).sum()),
}


SHARES = [(6, 5), (11, 0), (4, 4, 3), tuple([1] * 11)]


@pytest.mark.parametrize("sizes", SHARES, ids=str)
@pytest.mark.parametrize("case", [*CASES, *(f"summed {name}" for name in SUMMED)])
def test_shares_add_up_to_their_batch(case: str, sizes: tuple[int, ...]) -> None:
    """A single example is a share of ignored labels alone, too."""
    loss = SUMMED[case.removeprefix("summed ")][0] if case.startswith("summed ") else CASES[case][0]
    outputs, labels, classes = _batch(loss)
    whole = losses.build(loss, classes=classes)(outputs, labels)
    parts = zip(outputs.split(sizes), labels.split(sizes), strict=True)
    added = sum((losses.share(loss, labels, *part) for part in parts), torch.zeros(()))
    (expected,), (found,) = (torch.autograd.grad(value, outputs) for value in (whole, added))
    torch.testing.assert_close(added, whole, rtol=1e-14, atol=1e-15, check_dtype=False)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


def _batch(loss: Loss) -> tuple[Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(0)
    classes = 2 if loss.binary else 3
    outputs = torch.randn(11, 1 if loss.binary else 3, dtype=torch.float64, generator=generator, requires_grad=True)
    return outputs, torch.randint(classes, (11,), generator=generator), classes


@pytest.mark.parametrize("case", CASES)
def test_mean_in_training_and_evaluation(case: str) -> None:
    loss, expected = CASES[case]
    outputs, labels, classes = _batch(loss)
    value, reference = losses.build(loss, classes=classes)(outputs, labels), expected(outputs, labels)
    torch.testing.assert_close(value, reference, rtol=1e-14, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(value, outputs), torch.autograd.grad(reference, outputs), rtol=1e-13, atol=1e-16
    )
    parts = [losses.per_example(loss, *part) for part in zip(outputs.split(4), labels.split(4), strict=True)]
    assert [len(part) for part in parts] == [4, 4, 3]
    assert losses.mean(loss, torch.cat(parts), labels) == pytest.approx(reference.item(), rel=1e-14, abs=0)


@pytest.mark.parametrize("case", SUMMED)
def test_sum_in_training_and_its_share_of_an_example_in_evaluation(case: str) -> None:
    loss, expected = SUMMED[case]
    outputs, labels, classes = _batch(loss)
    assert loss.summed
    reference = expected(outputs, labels)
    torch.testing.assert_close(losses.build(loss, classes=classes)(outputs, labels), reference, rtol=1e-14, atol=0)
    values = losses.per_example(loss, outputs, labels)
    assert losses.mean(loss, values, labels) == pytest.approx(reference.item() / 11, rel=1e-14, abs=0)


@pytest.mark.parametrize(
    ("loss", "says"), [(Loss(name="bce"), "two classes"), (Loss(weight=(1.0, 2.0)), "each of 3 classes")]
)
def test_misfits_are_refused(loss: Loss, says: str) -> None:
    with pytest.raises(UserError, match=says):
        losses.build(loss, classes=3)
