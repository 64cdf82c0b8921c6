from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxnn import optim
from jaxnn.recipe import Optimizer
from jaxnn.schedules import Schedule

PARAMS = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)), jnp.float32), "b": jnp.zeros(2)}
GRADIENTS = jax.tree.map(lambda x: jnp.cos(x), PARAMS)
SLOTS = {
    Optimizer(): set(),
    Optimizer(momentum=0.9, dampening=0.3): {"momentum_buffer"},
    Optimizer(name="adam", amsgrad=True): {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    Optimizer(name="adamw"): {"exp_avg", "exp_avg_sq"},
    Optimizer(name="nadam"): {"exp_avg", "exp_avg_sq", "mu_product"},
    Optimizer(name="rmsprop", centered=True, momentum=0.9): {"square_avg", "grad_avg", "momentum_buffer"},
    Optimizer(name="adagrad"): {"sum"},
}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def _steps(optimizer: Optimizer, n: int) -> dict[str, np.ndarray]:
    return optim.build(optimizer).scalars(0, {"learning_rate": np.full(n, 0.1)})


@pytest.mark.parametrize(
    ("optimizer", "names"), SLOTS.items(), ids=lambda x: x.name if isinstance(x, Optimizer) else ""
)
@pytest.mark.parametrize("x64", [False, True])
def test_state_has_torch_s_names_and_keeps_dtypes(optimizer, names, x64):
    with jax.enable_x64(x64):
        params = PARAMS | ({"b": jnp.zeros(2, jnp.float64)} if x64 else {})
        rule = optim.build(optimizer)
        state = rule.init(params)
        scalars = {name: value[0] for name, value in _steps(optimizer, 1).items()}
        updates, after = jax.jit(rule.update)(params, state, params, scalars)
        assert after.slots.keys() == names and (state.count, after.count) == (0, 1)
        kinds = jax.tree.map(lambda x: (x.shape, x.dtype), (updates, after))
        assert kinds == jax.tree.map(lambda x: (x.shape, x.dtype), (params, state))
        for slot in after.slots.values():
            assert jax.tree.map(lambda x: x.dtype, slot) == jax.tree.map(lambda x: x.dtype, params)


@pytest.mark.parametrize("optimizer", SLOTS, ids=lambda optimizer: optimizer.name)
def test_scalars_continue_where_they_stopped(optimizer):
    whole = _steps(optimizer, 9)
    rest = optim.build(optimizer).scalars(4, {"learning_rate": np.full(5, 0.1)})
    for name, value in whole.items():
        assert value.dtype == np.float64 and value.shape == (9,)
        np.testing.assert_array_equal(value[4:], rest[name])


@pytest.mark.parametrize("name", ["adam", "nadam"])
def test_first_update_keeps_its_digits_in_float32(name):
    """Without eps Adam's first update is the learning rate; 1 - beta**t in float32 would be 6e-6 off."""
    gradient, transformation = jnp.asarray([1e-3, -2.0, 30.0]), getattr(optim, name)(0.1, eps=0.0)
    update, _ = transformation.update(gradient, transformation.init(gradient), gradient)
    mu, mu_next = (0.9 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in (1, 2))
    nesterov = (1 - mu) / (1 - mu) + mu_next * 0.1 / (1 - mu * mu_next)
    expected = -0.1 * np.sign(gradient) * (1 if name == "adam" else nesterov)
    np.testing.assert_allclose(update, expected, rtol=1e-6)


def test_adamw_rounds_its_decay_as_torch_does():
    """1 - 1e-5 in float32 is 0.99999 + 1.4e-8: a decay that is 0.1 % off, step after step, on both sides."""
    decay = optim.adamw(1e-3, weight_decay=1e-2)
    update, _ = decay.update(jnp.zeros(1), decay.init(jnp.ones(1)), jnp.ones(1))
    assert update == np.float32(1 - 1e-3 * 1e-2) - np.float32(1)


def test_chains_with_optax_and_serves_nnx():
    model = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    before = np.asarray(model.kernel[...])
    chain = optax.chain(optax.clip_by_global_norm(1.0), optim.nadam(optax.linear_schedule(0.1, 0.0, 10)))
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)
    compilations = 0

    @nnx.jit
    def step(model: nnx.Linear, optimizer: nnx.Optimizer) -> None:
        nonlocal compilations
        compilations += 1
        optimizer.update(model, nnx.grad(lambda model: jnp.square(model(jnp.ones((1, 2)))).sum())(model))

    with jax.numpy_rank_promotion("allow"):
        for _ in range(3):
            step(model, optimizer)
    assert compilations == 1 and np.isfinite(model.kernel[...]).all() and (model.kernel[...] != before).any()


def test_nothing_of_the_learning_rate_is_compiled_in():
    rule, compilations = optim.build(Optimizer(name="adam")), []

    @jax.jit
    def update(state: optim.State, scalars: dict[str, Any]) -> Any:
        compilations.append(1)
        return rule.update(GRADIENTS, state, PARAMS, scalars)

    state = rule.init(PARAMS)
    for row in range(3):
        scalars = {name: value[row] for name, value in _steps(Optimizer(name="adam"), 3).items()}
        _, state = update(state, scalars)
    assert len(compilations) == 1


def test_wrong_use_is_one_sentence():
    with pytest.raises(ValueError, match="weight_decay needs the parameters"):
        optim.sgd(0.1, weight_decay=0.1).update(GRADIENTS, optim.sgd(0.1).init(PARAMS))
    with pytest.raises(ValueError, match="no momentum to cycle"):
        optim.build(Optimizer()).scalars(0, Schedule(Optimizer()).hyperparameters(0, 2) | {"momentum": np.ones(2)})
