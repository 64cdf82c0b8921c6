"""The scaling of images, predictions, clipping, and the optimizers' and schedules' options."""

import pytest
import torch
from torch import nn

from jaxnn.data import UserError
from jaxnn.recipe import Clip, Input, Loss, Optimizer, Schedule
from torchref import losses, optim, schedules
from torchref.step import normalize, predict, train_step


def test_images_become_scaled_and_channels_first() -> None:
    images = torch.randint(256, (2, 4, 5, 3), dtype=torch.uint8)
    scaled = normalize(images, Input(mean=0.5, std=0.25), torch.float64)
    expected = torch.stack([(images[..., channel].double() / 255 - 0.5) / 0.25 for channel in range(3)], dim=1)
    assert scaled.is_contiguous() and torch.equal(scaled, expected)
    assert torch.equal(normalize(images, Input(), torch.float32)[:, 2], images[..., 2].float() / 255)


def test_tables_are_only_converted() -> None:
    table = torch.rand(3, 2)
    assert torch.equal(normalize(table, Input(mean=0.5), torch.float64), table.double())


def test_predictions() -> None:
    assert predict(torch.tensor([[0.0, 2.0, 2.0], [-1.0, -1.0, -2.0]])).tolist() == [1, 0]
    assert predict(torch.tensor([[0.1], [0.0], [-3.0]])).tolist() == [1, 0, 0]


@pytest.mark.parametrize(("clip", "bound"), [(Clip(norm=1e-3), "norm"), (Clip(value=1e-4), "value"), (Clip(), None)])
def test_step_and_clipping(clip: Clip, bound: str | None) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = optim.build(model.parameters(), Optimizer(learning_rate=1.0))
    inputs, labels = torch.randn(8, 5, dtype=torch.float64), torch.arange(8) % 3
    expected = nn.CrossEntropyLoss()(model(inputs), labels)
    expected_correct = (model(inputs).argmax(1) == labels).sum()
    value, correct = train_step(model, optimizer, losses.build(Loss(), classes=3), clip, inputs, labels)
    assert torch.equal(value, expected) and torch.equal(correct, expected_correct) and not value.requires_grad
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), before, strict=True)])
    if bound == "norm":
        assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)
    elif bound == "value":
        assert moved.abs().max().item() == pytest.approx(1e-4, rel=1e-9)
    else:
        assert moved.norm() > 1e-2


# recipe's optimizer, torch.optim class, some of its defaults as torch must have got them
OPTIMIZERS = (
    (Optimizer(learning_rate=0.3, momentum=0.9, nesterov=True), torch.optim.SGD, {"lr": 0.3, "nesterov": True}),
    (Optimizer(name="adam", betas=(0.8, 0.9), amsgrad=True), torch.optim.Adam, {"betas": (0.8, 0.9), "amsgrad": True}),
    (Optimizer(name="adam"), torch.optim.Adam, {"eps": 1e-8, "weight_decay": 0}),
    (Optimizer(name="adamw", maximize=True), torch.optim.AdamW, {"weight_decay": 1e-2, "maximize": True}),
    (Optimizer(name="nadam", momentum_decay=0.01), torch.optim.NAdam, {"momentum_decay": 0.01}),
    (Optimizer(name="rmsprop", momentum=0.5, centered=True), torch.optim.RMSprop, {"alpha": 0.99, "centered": True}),
    (Optimizer(name="adagrad", lr_decay=0.1, eps=1e-6), torch.optim.Adagrad, {"lr_decay": 0.1, "eps": 1e-6}),
)


@pytest.mark.parametrize(("config", "kind", "expected"), OPTIMIZERS, ids=[c[1].__name__ for c in OPTIMIZERS])
def test_optimizers(config: Optimizer, kind: type, expected: dict[str, object]) -> None:
    optimizer = optim.build(nn.Linear(2, 2).parameters(), config)
    assert type(optimizer) is kind
    assert {name: optimizer.defaults[name] for name in expected} == expected


# schedule, learning rates of six epochs of two steps each from 1.0, first step of each epoch
SCHEDULES = (
    (Schedule(), [1, 1, 1, 1, 1, 1]),
    (Schedule(name="step", step_size=2, gamma=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
    (Schedule(name="exponential", gamma=0.5), [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
    (Schedule(name="cosine"), [1, 0.9330127018922193, 0.75, 0.5, 0.25, 0.0669872981077807]),
    (Schedule(name="cosine", t_max=3), [1, 0.75, 0.25, 0, 0.25, 0.75]),
    (Schedule(name="plateau", patience=1, factor=0.5), [1, 1, 1, 0.5, 0.5, 0.25]),
    (
        Schedule(name="one_cycle", pct_start=0.5, anneal_strategy="linear", div_factor=6, final_div_factor=1),
        [1 / 6, 1 / 2, 5 / 6, 31 / 36, 21 / 36, 11 / 36],
    ),
)


@pytest.mark.parametrize(("schedule", "expected"), SCHEDULES, ids=[c[0].name for c in SCHEDULES])
def test_schedules(schedule: Schedule, expected: list[float]) -> None:
    config = Optimizer(learning_rate=1.0)
    optimizer = optim.build(nn.Linear(2, 2).parameters(), config)
    scheduler = schedules.build(optimizer, schedule, config, epochs=6, steps=12)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        for _ in range(2):
            optimizer.step()
            schedules.after_step(schedule, scheduler)
        schedules.after_epoch(schedule, scheduler, {"test_loss": 1.0})
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("config", "options", "says"),
    [(Optimizer(name="adagrad"), {}, "momentum"), (Optimizer(), {"pct_start": 0.1}, "one step")],
)
def test_impossible_cycles_are_refused(config: Optimizer, options: dict[str, float], says: str) -> None:
    schedule = Schedule(name="one_cycle", **options)  # pyright: ignore[reportArgumentType]
    optimizer = optim.build(nn.Linear(2, 2).parameters(), config)
    with pytest.raises(UserError, match=says):
        schedules.build(optimizer, schedule, config, epochs=1, steps=10)
