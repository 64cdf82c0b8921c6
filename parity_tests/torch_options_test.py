"""jaxnn's losses, layers and optimizers have all the options of torch's, by torch's names and with its defaults."""

import inspect
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from jaxnn import losses, nn, optim
from parity_tests.signatures import Function, defaults, presence

_LOSSES = {name: (getattr(losses, name), getattr(F, name)) for name in losses.__all__ if hasattr(F, name)}
_LAYERS = {
    name: (layer, getattr(torch.nn, name))
    for name, layer in vars(nn).items()
    if inspect.isclass(layer) and hasattr(torch.nn, name)
}
_OPTIMIZERS = {
    name: (getattr(optim, name.lower()), optimizer)
    for name, optimizer in vars(torch.optim).items()
    if inspect.isclass(optimizer) and name.lower() in optim.__all__
}
PAIRS: dict[str, dict[str, tuple[Function, Function]]] = {
    "losses": _LOSSES,
    "nn": _LAYERS,
    "optim": _OPTIMIZERS,
}
_BIAS = {"bias": "an affine layer has a bias"} if "bias" in inspect.signature(torch.nn.BatchNorm1d).parameters else {}
_COMPILED = "how torch runs the step, not what it computes"
# A module of jaxnn or one of its members -> an option that one side alone has -> why.
INTENDED: dict[str, Mapping[str, str]] = {
    "losses": {
        **dict.fromkeys(("input", "target"), "`outputs`, `logits`, `log_probs` and `probs` say which input"),
        **dict.fromkeys(("outputs", "logits", "log_probs", "probs", "targets", "labels"), "`input`, `target`"),
        **dict.fromkeys(("size_average", "reduce"), "deprecated"),
    },
    "nn": {
        "rngs": "torch draws from its global generator; JAX must be given a stream",
        **dict.fromkeys(("device", "dtype", "param_dtype"), "JAX finds its devices by itself; `param_dtype` is ours"),
    },
    **dict.fromkeys(("nn.BatchNorm1d", "nn.BatchNorm2d"), _BIAS),  # newer torch has it
    "nn.Dropout": {"inplace": "JAX's arrays do not change", **dict.fromkeys(("p", "rate"), "flax calls it rate")},
    "nn.Flatten": dict.fromkeys(("args", "kwargs", "start_dim", "end_dim"), "examples become vectors, nothing else"),
    "nn.MaxPool2d": {"return_indices": "nothing here unpools"},
    "optim": {
        "params": "an optax optimizer is given the parameters at each update",
        **dict.fromkeys(("lr", "learning_rate"), "the field's own name"),
        **dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), _COMPILED),
        "decoupled_weight_decay": "adamw is the one that has it",
    },
}
NAMES = [f"{module}.{name}" for module, members in PAIRS.items() for name in members]


def differences(name: str) -> dict[str, str]:
    module, member = name.split(".")
    ours, theirs = PAIRS[module][member]
    intended = {**INTENDED[module], **INTENDED.get(name, {})}
    found = presence(ours, theirs) | defaults(ours, theirs)
    return {option: how for option, how in found.items() if option not in intended}


@pytest.mark.parametrize("name", NAMES)
def test_options_are_torch_s(name: str) -> None:
    assert differences(name) == {}


def test_the_search_finds_what_there_is() -> None:
    assert set(_OPTIMIZERS) == {"SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adagrad"}
    assert set(_LAYERS) >= {"Linear", "Conv2d", "BatchNorm1d", "BatchNorm2d", "Dropout", "MaxPool2d", "AvgPool2d"}
    assert len(_LOSSES) == 9


def test_every_difference_with_a_reason_is_there() -> None:
    for name, intended in INTENDED.items():
        members = [PAIRS[key.split(".")[0]][key.split(".")[1]] for key in NAMES if f"{key}.".startswith(f"{name}.")]
        assert set(intended) <= {option for pair in members for option in presence(*pair)}, name


@pytest.mark.parametrize(
    ("name", "drifted", "option"),
    [
        ("optim.AdamW", lambda learning_rate=1e-3, *, betas, eps=1e-8, weight_decay=1e-4: None, "weight_decay"),
        ("losses.cross_entropy", lambda logits, targets, *, weight=None, reduction="mean": None, "label_smoothing"),
        ("nn.Conv2d", lambda in_channels, out_channels, kernel_size, *, padding="same": None, "padding"),
        ("losses.huber_loss", lambda outputs, targets, *, beta=1.0: None, "beta"),
    ],
)
def test_planted_drift_is_caught(name: str, drifted: Function, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, member = name.split(".")
    monkeypatch.setitem(PAIRS[module], member, (drifted, PAIRS[module][member][1]))
    assert option in differences(name)
