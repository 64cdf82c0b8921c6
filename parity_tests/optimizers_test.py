"""torch.optim's optimizers over 200 steps: parameters and every state slot, compared after each step.

Each case runs with a constant and with a changing learning rate, fed with the same gradients and in a closed
loop, with the gradients of three logistic regressions. Both ways of running a rule are held to it: scalars
from the host, and optax's own interface.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxnn import optim
from jaxnn.recipe import Optimizer

STEPS = 200
RANDOM = np.random.default_rng(0)
PARAMS = {"bias": RANDOM.normal(size=3), "weight": RANDOM.normal(size=(4, 3))}
FED = {name: RANDOM.normal(size=(STEPS, *value.shape)) for name, value in PARAMS.items()}
# A new batch each step: on a fixed one the gradients would vanish, and only their rounding be compared.
INPUTS, LABELS = RANDOM.normal(size=(STEPS, 8, 4)), RANDOM.integers(0, 2, size=(STEPS, 8, 3)).astype(float)
RATES = {"constant": np.full(STEPS, 0.05), "changing": 0.05 * (1.1 + np.sin(np.arange(STEPS) / 7))}
TORCH = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.1}),
    ("sgd", {"maximize": True, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "dampening": 0.4}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("sgd", {"momentum": 0.5, "dampening": 0.4, "weight_decay": 0.1, "maximize": True}),
    ("adam", {}),
    ("adam", {"betas": (0.5, 0.9), "eps": 1e-3}),
    ("adam", {"betas": (0.0, 0.99)}),
    ("adam", {"weight_decay": 0.1}),
    ("adam", {"amsgrad": True, "betas": (0.9, 0.9)}),
    ("adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.0}),
    ("adamw", {"weight_decay": 0.2, "amsgrad": True, "maximize": True}),
    ("nadam", {}),
    ("nadam", {"weight_decay": 0.1, "maximize": True}),
    ("nadam", {"momentum_decay": 0.2, "betas": (0.8, 0.9), "eps": 1e-4}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"centered": True, "alpha": 0.9}),
    ("rmsprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("adagrad", {}),
    ("adagrad", {"lr_decay": 0.1, "eps": 1e-3}),
    ("adagrad", {"initial_accumulator_value": 0.5, "weight_decay": 0.1, "maximize": True}),
]

Trajectory = dict[str, np.ndarray]  # "bias", "bias.exp_avg", ...: the values after each step
Hyperparameters = dict[str, np.ndarray]
Run = Callable[[Hyperparameters, bool], Trajectory]


def _torch_run(name: str, options: dict[str, Any], hyperparameters: Hyperparameters, fed: bool) -> Trajectory:
    dtype = torch.get_default_dtype()
    params = {key: torch.tensor(value, dtype=dtype, requires_grad=True) for key, value in PARAMS.items()}
    inputs, labels = torch.tensor(INPUTS, dtype=dtype), torch.tensor(LABELS, dtype=dtype)
    optimizer = TORCH[name](params.values(), lr=0.1, **options)
    group = optimizer.param_groups[0]
    rows: dict[str, list[np.ndarray]] = {}
    for step in range(STEPS):
        group["lr"] = float(hyperparameters["learning_rate"][step])
        if "momentum" in hyperparameters:
            momentum = float(hyperparameters["momentum"][step])
            group |= {"betas": (momentum, group["betas"][1])} if "betas" in group else {"momentum": momentum}
        if fed:
            for key, param in params.items():
                param.grad = torch.tensor(FED[key][step], dtype=dtype)
        else:
            with torch.no_grad():
                residuals = torch.sigmoid(inputs[step] @ params["weight"] + params["bias"]) - labels[step]
                params["weight"].grad = inputs[step].T @ residuals / 8
                params["bias"].grad = residuals.sum(0) / 8
        optimizer.step()
        for key, param in params.items():
            slots = {f"{key}.{slot}": value for slot, value in optimizer.state[param].items() if slot != "step"}
            for full, value in ({key: param} | slots).items():
                rows.setdefault(full, []).append(value.detach().numpy().copy())
    return {key: np.stack(values) for key, values in rows.items()}


def _jax_run(init: Any, update: Any, rows: Any, fed: Any, precision: str) -> Any:
    """The trajectory of ``update(gradients, state, params, row)``; ``fed`` may be traced, to compile once for both."""
    arrays = jax.tree.map(lambda x: jnp.asarray(x, precision), (PARAMS, FED, INPUTS, LABELS))
    params, gradients, inputs, labels = arrays

    def body(carry: Any, step: Any) -> Any:
        params, state = carry
        given, inputs, labels, row = step

        residuals = jax.nn.sigmoid(inputs @ params["weight"] + params["bias"]) - labels
        own = {"bias": residuals.sum(0) / 8, "weight": inputs.T @ residuals / 8}
        gradients = jax.tree.map(lambda a, b: jnp.where(fed, a, b), given, own)
        updates, state = update(gradients, state, params, row)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, getattr(state, "slots", {}))

    _, (trajectory, slots) = jax.lax.scan(body, (params, init(params)), (gradients, inputs, labels, rows))
    return trajectory | {f"{key}.{slot}": value for slot, values in slots.items() for key, value in values.items()}


def _by_optax(make: Callable[[Any], Any], precision: str) -> Run:
    @jax.jit
    def run(rates: Any, fed: Any) -> Any:
        optimizer = make(lambda count: rates[count])
        return _jax_run(optimizer.init, lambda g, s, p, _: optimizer.update(g, s, p), rates, fed, precision)

    return lambda hyperparameters, fed: run(jnp.asarray(hyperparameters["learning_rate"], precision), fed)


def _by_host(name: str, options: dict[str, Any], precision: str) -> Run:
    rule = optim.build(Optimizer(**dict[str, Any](options, name=name)))
    run = jax.jit(lambda scalars, fed: _jax_run(rule.init, rule.update, scalars, fed, precision))

    def with_scalars(hyperparameters: Hyperparameters, fed: bool) -> Trajectory:
        # In two calls, as a loop asks epoch by epoch.
        half = STEPS // 2
        parts = [rule.scalars(k, {n: v[k : k + half] for n, v in hyperparameters.items()}) for k in (0, half)]
        return run({n: jnp.asarray(np.concatenate([part[n] for part in parts]), precision) for n in parts[0]}, fed)

    return with_scalars


def _run(way: str, name: str, options: dict[str, Any], precision: str) -> Run:
    if way == "host":
        return _by_host(name, options, precision)
    return _by_optax(functools.partial(getattr(optim, name), **options), precision)


@pytest.fixture
def errors(largest_error):
    """The largest error of any tensor after each step, scaled by the tensor's own maximum at that step."""

    def measure(ours: Trajectory, theirs: Trajectory) -> np.ndarray:
        assert ours.keys() == theirs.keys()
        return np.max([[largest_error(x, y) for x, y in zip(ours[k], theirs[k], strict=True)] for k in theirs], axis=0)

    return measure


@pytest.mark.parametrize("way", ["host", "optax"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_equal_to_torch_in_float64(name, options, way, errors):
    run = _run(way, name, options, "float64")
    for fed in (True, False):
        for rates in RATES.values():
            given = {"learning_rate": rates}
            found = errors(jax.device_get(run(given, fed)), _torch_run(name, options, given, fed))
            assert found.max() <= 1e-11, f"{fed=}, first at step {np.argmax(found > 1e-11)}"


CYCLED = 0.9 - 0.4 * np.sin(np.arange(STEPS) / 31) ** 2


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "nadam"])
def test_cycled_momentum_equals_torch(name, errors):
    start = {"betas": (CYCLED[0], 0.99)} if name in ("adam", "nadam") else {"momentum": CYCLED[0]}
    given = {"learning_rate": RATES["changing"], "momentum": CYCLED}
    ours = _by_host(name, start, "float64")(given, True)
    assert errors(jax.device_get(ours), _torch_run(name, start, given, True)).max() <= 1e-11


def _without_subnormals(trajectory: Trajectory) -> Trajectory:
    # XLA flushes them to zero on a CPU and torch does not; NAdam's mu_product ends there, beside a 1.
    smallest = np.finfo(np.float32).tiny
    return {key: np.where(np.abs(value) < smallest, 0, value) for key, value in trajectory.items()}


@pytest.mark.parametrize("precision", ["float32"], indirect=True)
@pytest.mark.parametrize("way", ["host", "optax"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("adam", {"amsgrad": True}),
        ("adamw", {"weight_decay": 1e-3}),
        ("nadam", {}),
        ("rmsprop", {"momentum": 0.9, "weight_decay": 0.1}),
        ("adagrad", {"lr_decay": 0.1}),
    ],
    ids=str,
)
def test_float32_differs_by_roundings_alone(name, options, way, precision, errors):
    given = {"learning_rate": RATES["changing"]}
    ours, theirs = _run(way, name, options, precision)(given, True), _torch_run(name, options, given, True)
    found = errors(_without_subnormals(jax.device_get(ours)), _without_subnormals(theirs))
    # Each step rounds a tensor a few times on either side (8 in all, by half of 2**-23), and roundings add up.
    beyond = found > 8 * 2**-24 * np.arange(1, STEPS + 1)
    assert not beyond.any(), f"first at step {np.argmax(beyond)}"


FAULTS = {
    "dampened first gradient": (
        "sgd",
        {"momentum": 0.9, "dampening": 0.4},
        lambda rate: optax.chain(optax.trace(0.9), optax.scale(0.6), optax.scale_by_learning_rate(rate)),
    ),
    "learning rate inside the momentum": (
        "sgd",
        {"momentum": 0.9},
        lambda rate: optax.chain(optax.scale_by_learning_rate(rate), optax.trace(0.9)),
    ),
    "learning rate one step late": (
        "sgd",
        {"momentum": 0.9},
        lambda rate: optim.sgd(lambda count: rate(jnp.maximum(count - 1, 0)), momentum=0.9),
    ),
    "L2 in place of decoupled decay": ("adamw", {}, lambda rate: optim.adam(rate, weight_decay=1e-2)),
    "decoupled decay in place of L2": ("adam", {"weight_decay": 0.1}, lambda rate: optim.adamw(rate, weight_decay=0.1)),
    "optax's default decay": ("adamw", {}, optax.adamw),
    "eps inside the root": ("adam", {}, lambda rate: optax.adam(rate, eps=0, eps_root=1e-8)),
    "maximum of the corrected second moment": ("adam", {"amsgrad": True}, optax.amsgrad),
    "no momentum schedule": ("nadam", {}, optax.nadam),
    "optax's rmsprop": ("rmsprop", {}, optax.rmsprop),
    "optax's adagrad": ("adagrad", {}, optax.adagrad),
    "decay before the sign": (
        "sgd",
        {"weight_decay": 0.1, "maximize": True},
        lambda rate: optax.chain(optax.add_decayed_weights(0.1), optax.scale(-1.0), optax.sgd(rate)),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault, errors):
    name, options, make = FAULTS[fault]
    given = {"learning_rate": RATES["changing"]}
    theirs = _torch_run(name, options, given, True)
    ours = {key: np.asarray(value) for key, value in _by_optax(make, "float64")(given, True).items() if key in PARAMS}
    assert errors(ours, {key: theirs[key] for key in PARAMS}).max() > 1e-11


GRADIENTS = {"a": RANDOM.normal(size=(3, 4)), "b": RANDOM.normal(size=5), "c": np.zeros(2)}
NONFINITE = GRADIENTS | {"b": np.array([np.inf, 1.0, 2.0]), "c": np.array([np.nan])}


def _torch_clipped(clip: Any, gradients: dict[str, np.ndarray], limit: float) -> tuple[dict[str, np.ndarray], Any]:
    params = [torch.zeros(value.shape, requires_grad=True) for value in gradients.values()]
    for param, value in zip(params, gradients.values(), strict=True):
        param.grad = torch.tensor(value)
    total = clip(params, limit)
    return {key: param.grad.numpy() for key, param in zip(gradients, params, strict=True)}, total  # pyright: ignore


@pytest.mark.parametrize("limit", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("gradients", [GRADIENTS, NONFINITE, {"a": np.zeros(3)}], ids=["finite", "not finite", "zero"])
def test_clipping_equals_torch(gradients, limit, largest_error):
    theirs, norm = _torch_clipped(torch.nn.utils.clip_grad_norm_, gradients, limit)
    ours, total = optim.clip_grad_norm(jax.tree.map(jnp.asarray, gradients), limit)
    assert largest_error(total, norm) <= 1e-15
    assert max(largest_error(ours[key], theirs[key]) for key in theirs) <= 1e-15
    by_value, _ = _torch_clipped(torch.nn.utils.clip_grad_value_, gradients, limit)
    clipped = optim.clip_grad_value(jax.tree.map(jnp.asarray, gradients), limit)
    assert all(np.array_equal(clipped[key], by_value[key], equal_nan=True) for key in by_value)


def test_clipping_by_optax_is_caught(largest_error):
    theirs, _ = _torch_clipped(torch.nn.utils.clip_grad_norm_, GRADIENTS, 1.0)
    clip = optax.clip_by_global_norm(1.0)
    ours: Any = clip.update(jax.tree.map(jnp.asarray, GRADIENTS), clip.init(GRADIENTS))[0]
    assert largest_error(ours["a"], theirs["a"]) > 1e-11
