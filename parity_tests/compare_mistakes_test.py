"""What cannot be compared is said in one clear message; nothing is changed, neither the models nor the process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import torchref
from jaxnn.errors import UserError
from jaxnn.nn import Conv2d, Linear
from jaxnn.parity import PairingError, Rule, capture, compare, compare_dumps

RNGS = nnx.Rngs(0)
RANDOM = np.random.default_rng(0)
TABLE = (RANDOM.normal(size=(6, 5)), RANDOM.integers(0, 3, size=6))
IMAGES = RANDOM.normal(size=(4, 2, 6, 6))
SGD = ("sgd", {"lr": 0.1})


def _torch_mlp(*widths: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(*(torch.nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False)))


def _nnx_mlp(*widths: int) -> nnx.Sequential:
    return nnx.Sequential(*(Linear(*pair, rngs=RNGS) for pair in zip(widths, widths[1:], strict=False)))


def _spoiled() -> torch.nn.Module:
    model = _torch_mlp(5, 4, 3)
    with torch.no_grad():
        model.get_parameter("1.weight")[0, 0] = torch.nan
    return model


def _mixed() -> torch.nn.Module:
    model = _torch_mlp(5, 4, 3).float()
    model[0].double()
    return model


def _conv() -> tuple[torch.nn.Module, nnx.Module]:
    return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3)), nnx.Sequential(Conv2d(2, 3, 3, rngs=RNGS))


def _mlps(**options: Any) -> Any:
    return lambda: compare(_torch_mlp(5, 4, 3), _nnx_mlp(5, 4, 3), TABLE, **{"loss": "cross_entropy"} | options)


def _models(original: Callable[[], Any], port: Callable[[], Any], batch: Any = TABLE, **options: Any) -> Any:
    return lambda: compare(original(), port(), batch, **{"loss": "cross_entropy"} | options)


MISTAKES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "other depth": (
        _models(lambda: _torch_mlp(5, 4, 4, 3), lambda: _nnx_mlp(5, 4, 3)),
        ["3 layers with weights, the NNX model 2", "2: linear weight 3x4", "1: linear bias 3, kernel 4x3"],
    ),
    "other width": (
        _models(lambda: _torch_mlp(5, 4, 3), lambda: _nnx_mlp(5, 8, 3)),
        ["they part at 0: linear weight 4x5", "0: linear bias 8, kernel 5x8"],
    ),
    "a layer of another kind": (
        _models(
            lambda: torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.LayerNorm(3)),
            lambda: nnx.Sequential(Linear(5, 3, rngs=RNGS), nnx.BatchNorm(3, rngs=RNGS)),
        ),
        ["layer norm", "batch norm"],
    ),
    "a layer without a counterpart": (
        _models(lambda: torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.PReLU()), lambda: _nnx_mlp(5, 3)),
        ["prelu weight 1"],
    ),
    "not an NNX model": (_models(lambda: _torch_mlp(5, 3), lambda: print), ["instance of flax.nnx.Module"]),
    "a rule for nothing": (_mlps(rules={"second": "1"}), ["'second'", "no such module"]),
    "a rule to nowhere": (_mlps(rules={"1": "layers.7"}), ["'layers.7'", "it has"]),
    "a rule with axes that do not fit": (_mlps(rules={"1.weight": Rule(path="1.kernel", axes=(0, 1))}), ["(4, 3)"]),
    "channels last": (
        lambda: compare(*_conv(), (IMAGES.transpose(0, 2, 3, 1), IMAGES), loss="mse_loss"),
        ["(4, 6, 6, 2)", "looks channels last"],
    ),
    "features that the model does not take": (
        _models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), (TABLE[0][:, :4], TABLE[1])),
        ["the PyTorch model cannot take inputs of shape (6, 4)"],
    ),
    "no batch": (_models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), []), ["empty list"]),
    "an empty batch": (
        _models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), (TABLE[0][:0], TABLE[1][:0])),
        ["is empty", "(0, 5)"],
    ),
    "too few targets": (
        _models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), (TABLE[0], TABLE[1][:5])),
        ["(6, 5) and (5,)"],
    ),
    "tensors for arrays": (
        _models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), (torch.ones(2, 5), torch.ones(2))),
        ["NumPy arrays"],
    ),
    "inputs that are not finite": (
        _models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), (TABLE[0] * np.inf, TABLE[1])),
        ["inputs that are not finite"],
    ),
    "NaN in weights": (_models(_spoiled, lambda: _nnx_mlp(5, 4, 3)), ["not finite: 1.weight"]),
    "a PyTorch model in half precision": (
        _models(lambda: _torch_mlp(5, 3).half(), lambda: _nnx_mlp(5, 3)),
        ["0.weight as float16", ".double()"],
    ),
    "a PyTorch model in double for float32": (
        _models(lambda: _torch_mlp(5, 3), lambda: _nnx_mlp(5, 3), precision="float32"),
        ["float64", "float32"],
    ),
    "a PyTorch model of two types": (_models(_mixed, lambda: _nnx_mlp(5, 4, 3)), ["mixes float32 and float64"]),
    "an unknown loss": (_mlps(loss="crossentropy"), ["no loss 'crossentropy'", "'cross_entropy'"]),
    "a loss that jaxnn does not have": (_mlps(loss="multi_margin_loss"), ["jaxnn.losses has no", "pair"]),
    "a loss that is no scalar": (
        _mlps(loss=(lambda o, t: torch.nn.functional.cross_entropy(o, t, reduction="none"), lambda o, t: o.sum())),
        ["must be a scalar"],
    ),
    "targets that do not fit": (_mlps(loss="mse_loss"), ["the loss cannot take outputs of shape (6, 3)"]),
    "an unknown optimizer": (_mlps(optimizer="adm", steps=1), ["no optimizer 'adm'", "did you mean"]),
    "an option that the optimizer lacks": (_mlps(optimizer=("sgd", {"beta": 1}), steps=1), ["SGD cannot take"]),
    "steps without an optimizer": (_mlps(steps=3), ["needs an optimizer"]),
    "an optimizer that jaxnn does not have": (_mlps(optimizer="adamax", steps=1), ["adamax", "jax_optimizer"]),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said(name: str) -> None:
    run, expected = MISTAKES[name]
    with pytest.raises(UserError) as error:
        run()
    message = str(error.value)
    assert all(part in message for part in expected), message
    if not isinstance(error.value, PairingError):
        assert "\n" not in message


class _Unfit(nnx.Module):
    """Padded where PyTorch is not, so that the last layer gets more features than it takes; or without a gradient."""

    def __init__(self, *, whole: bool) -> None:
        self.conv = nnx.Conv(2, 3, (3, 3), padding="VALID" if whole else "SAME", rngs=RNGS)
        self.head = Linear(48, 3, rngs=RNGS)
        self.whole = whole

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.head(jnp.transpose(self.conv(x), (0, 3, 1, 2)).reshape(len(x), -1))
        return jax.pure_callback(lambda y: np.asarray(y), x, x) if self.whole else x


@pytest.mark.parametrize("whole", [False, True], ids=["forward", "backward"])
def test_what_cannot_run_as_a_whole_is_not_right(whole: bool) -> None:
    original = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(48, 3))
    targets = RANDOM.integers(0, 3, size=4)
    report = compare(original, _Unfit(whole=whole), (IMAGES, targets), loss="cross_entropy", optimizer=SGD, steps=2)
    assert not report.ok
    failed = [(entry.torch_name, entry.what) for entry in report.entries if entry.failed]
    assert ("outputs", "whole pass") in failed
    assert whole or failed[0] == ("0", "output")


def test_models_and_surroundings_stay_as_they_are() -> None:
    original, port = _torch_mlp(5, 4, 3).eval(), _nnx_mlp(5, 4, 3)
    weights = [parameter.clone() for parameter in original.parameters()]
    kernels = jax.tree.leaves(jax.tree.map(jnp.array, nnx.state(port)))
    stream, x64 = torch.get_rng_state(), jax.config.read("jax_enable_x64")
    calls = Linear.__call__
    compare(original, port, TABLE, loss="cross_entropy", optimizer=SGD, steps=2)
    assert not original.training
    assert all(map(torch.equal, original.parameters(), weights))
    assert all(map(jnp.array_equal, jax.tree.leaves(nnx.state(port)), kernels))
    assert torch.equal(torch.get_rng_state(), stream)
    assert jax.config.read("jax_enable_x64") == x64
    assert Linear.__call__ is calls


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A reference, its port, a port with a fault, and a reference of another batch and of another model."""
    folder = tmp_path_factory.mktemp("dumps")
    paths = {name: folder / name for name in ("reference", "port", "faulty", "other batch", "other model", "short")}
    torch.manual_seed(0)
    original, options = _torch_mlp(5, 4, 3), {"loss": "cross_entropy", "optimizer": SGD}
    torchref.capture(original, TABLE, **options, steps=3, out=paths["reference"])
    torchref.capture(original, TABLE, **options, steps=2, out=paths["short"])
    torchref.capture(original, (TABLE[0] + 1, TABLE[1]), **options, steps=3, out=paths["other batch"])
    torchref.capture(_torch_mlp(5, 6, 3), TABLE, **options, steps=3, out=paths["other model"])
    port = _nnx_mlp(5, 4, 3)  # in single precision, as a user would build it: widened for the comparison
    capture(port, reference=paths["reference"], loss="cross_entropy", out=paths["port"])
    summed = (None, lambda outputs, targets: -jax.nn.log_softmax(outputs)[jnp.arange(6), targets].sum())
    capture(port, reference=paths["reference"], loss=summed, out=paths["faulty"])
    return paths


def test_dumps_are_compared_like_models(dumps: dict[str, Path]) -> None:
    right = compare_dumps(dumps["reference"], dumps["port"])
    assert right.ok, right.table()
    assert {"forward", "loss", "gradients", "optimizer", "trajectory"} <= {entry.level for entry in right.entries}
    wrong = compare_dumps(dumps["reference"], dumps["faulty"])
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.level == "loss"
    assert wrong.diagnoses[0].cause == "loss-reduction"


def _damage(path: Path, file: str, how: Callable[[bytes], bytes]) -> None:
    content = (path / file).read_bytes()
    (path / file).write_bytes(how(content))


@pytest.mark.parametrize(
    ("file", "how", "expected"),
    [
        ("dump.json", lambda content: content[:100], "damaged"),
        ("dump.json", lambda content: b"[]", "damaged"),
        ("dump.json", lambda content: content.replace(b'"format": 1', b'"format": 99'), "format 99"),
        ("arrays.safetensors", lambda content: content[:-1], "checksum"),
        ("arrays.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1]), "checksum"),
        ("steps/000002.safetensors", lambda content: b"", "checksum"),
    ],
)
def test_a_damaged_dump_is_refused(
    dumps: dict[str, Path], tmp_path: Path, file: str, how: Callable[[bytes], bytes], expected: str
) -> None:
    import shutil

    copy = shutil.copytree(dumps["port"], tmp_path / "port")
    _damage(copy, file, how)
    with pytest.raises(UserError, match=expected):
        compare_dumps(dumps["reference"], copy)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("other batch", "different batches"),
        ("other model", "different models"),
        ("short", "3 steps and 2 steps"),
        ("nothing", "no dump.json"),
    ],
)
def test_dumps_of_different_things_are_refused(dumps: dict[str, Path], other: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        compare_dumps(dumps["reference"], dumps.get(other, Path(other)))
