import numpy as np
import pytest

RANDOM = np.random.default_rng(0)
STEPS = 6
START = {"fc.weight": RANDOM.normal(size=(6, 5)), "fc.bias": RANDOM.normal(size=6)}
GRADIENTS = [{name: 0.1 * RANDOM.normal(size=x.shape) for name, x in START.items()} for _ in range(STEPS)]
CONSTANT = [0.1] * STEPS
STEPPED = [0.1] * 3 + [0.01] * 3
KEPT, CYCLED = [0.9] * STEPS, [0.95, 0.9, 0.85, 0.9, 0.95, 0.9]


def _sgd(
    *, rates=CONSTANT, momenta=KEPT, first=1.0, later=1.0, nesterov=False, coupled=0.0, decoupled=0.0, inside=False
):
    """SGD as written down anew; ``first`` and ``later``: the gradient's share in the buffer."""

    def step(x, g, slots, t):
        g = g + coupled * x
        share, size = (first if t == 1 else later), (rates[t - 1] if inside else 1.0)
        slots["buffer"] = momenta[t - 1] * slots.get("buffer", 0.0) + share * size * g
        move = size * g + momenta[t - 1] * slots["buffer"] if nesterov else slots["buffer"]
        return x - (1.0 if inside else rates[t - 1]) * move - rates[t - 1] * decoupled * x

    return step


def _adam(*, rates=CONSTANT, eps=1e-8, root=0.0, raw=0.0, coupled=0.0, decoupled=0.0, vectors=True, nesterov=False):
    """``eps`` beside the root, ``root`` inside of it, ``raw`` beside the root before the correction."""

    def step(x, g, slots, t):
        g = g + coupled * x
        m = slots["m"] = 0.9 * slots.get("m", 0.0) + 0.1 * g
        v = slots["v"] = 0.999 * slots.get("v", 0.0) + 0.001 * g * g
        corrected = m / (1 - 0.9**t)
        if nesterov:
            corrected = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        deviation = (np.sqrt(v) + raw) / np.sqrt(1 - 0.999**t)
        decay = decoupled if vectors or x.ndim > 1 else 0.0
        return x - rates[t - 1] * (corrected / (np.sqrt(deviation**2 + root) + eps) + decay * x)

    return step


def _rmsprop(*, eps=1e-8, root=0.0, decay=0.99):
    def step(x, g, slots, t):
        v = slots["v"] = decay * slots.get("v", 0.0) + (1 - decay) * g * g
        return x - 0.1 * g / (np.sqrt(v + root) + eps)

    return step


def _adagrad(*, eps=1e-10, root=0.0, start=0.0):
    def step(x, g, slots, t):
        v = slots["v"] = slots.get("v", start) + g * g
        return x - 0.1 * g / (np.sqrt(v + root) + eps)

    return step


def _run(step):
    values, slots = dict(START), {name: {} for name in START}
    found = []
    for t, gradients in enumerate(GRADIENTS, start=1):
        values = {name: step(x, gradients[name], slots[name], t) for name, x in values.items()}
        found.append((values, {name: dict(held) for name, held in slots.items()}))
    return found


SLOTS = {
    "sgd": {"buffer": "momentum_buffer"},
    "adam": {"m": "exp_avg", "v": "exp_avg_sq"},
    "adamw": {"m": "exp_avg", "v": "exp_avg_sq"},
    "rmsprop": {"v": "square_avg"},
    "adagrad": {"v": "sum"},
}


@pytest.fixture
def of_optimizer(diagnosed, entry):
    """The diagnoses of an optimizer: its options in PyTorch, both rules; ``kept``: the steps in the history."""

    def run(
        options,
        theirs,
        ours,
        *,
        rates=CONSTANT,
        momenta=None,
        kept=(1, 2, 3),
        given=True,
        narrow=False,
        precision="float64",
    ):
        history = {}
        names = SLOTS.get(options["name"], {})
        for t, (left, right) in enumerate(zip(_run(theirs), _run(ours), strict=True), start=1):
            if t not in kept:
                continue
            torch = {"learning_rate": np.asarray(rates[t - 1])}
            torch |= {} if momenta is None else {"momentum": np.asarray(momenta[t - 1])}
            for name, gradient in GRADIENTS[t - 1].items():
                torch |= {f"gradient/{name}": gradient, f"parameter/{name}": left[0][name]}
                torch |= {f"state/{name}/{names.get(slot)}": held for slot, held in left[1][name].items()}
            key = "given/parameter" if given else "parameter"
            jax = {f"{key}/{name}": x.astype(np.float32) if narrow else x for name, x in right[0].items()}
            history[t] = torch, jax | ({} if given else {f"gradient/{n}": g for n, g in GRADIENTS[t - 1].items()})
        left = {f"weight/{name}": value for name, value in START.items()}
        failed = entry("optimizer" if given else "trajectory", "fc.weight", "parameter")
        return diagnosed(left, {}, failed, history=history, optimizer=options, precision=precision)

    return run


SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAM = {"name": "adam", "lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
ADAMW = ADAM | {"name": "adamw", "weight_decay": 0.01}
RMSPROP = {"name": "rmsprop", "lr": 0.1, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0}
ADAGRAD = {"name": "adagrad", "lr": 0.1, "lr_decay": 0.0, "eps": 1e-10, "initial_accumulator_value": 0.0}
DAMPED, DECAYED = SGD | {"dampening": 0.4}, SGD | {"weight_decay": 0.01}

CASES = {
    "nesterov left out": (SGD | {"nesterov": True}, _sgd(nesterov=True), _sgd(), "nesterov"),
    "nesterov added": (SGD, _sgd(), _sgd(nesterov=True), "nesterov"),
    "nadam for adam": (ADAM, _adam(), _adam(nesterov=True), "nesterov"),
    "dampening left out": (DAMPED, _sgd(later=0.6), _sgd(), "dampening"),
    "first gradient damped": (DAMPED, _sgd(later=0.6), _sgd(first=0.6, later=0.6), "dampening"),
    "an average of gradients": (SGD, _sgd(), _sgd(first=0.1, later=0.1), "dampening"),
    "decay left out": (DECAYED, _sgd(coupled=0.01), _sgd(), "weight-decay-coupling"),
    "decoupled in SGD": (DECAYED, _sgd(coupled=0.01), _sgd(decoupled=0.01), "weight-decay-coupling"),
    "an odd decay": (DECAYED, _sgd(coupled=0.01), _sgd(coupled=0.0123), "weight-decay-coupling"),
    "decay without the learning rate": (DECAYED, _sgd(coupled=0.01), _sgd(decoupled=0.1), "weight-decay-coupling"),
    "L2 for adamw": (ADAMW, _adam(decoupled=0.01), _adam(coupled=0.01), "weight-decay-coupling"),
    "optax's default decay": (ADAMW, _adam(decoupled=0.01), _adam(decoupled=1e-4), "weight-decay-coupling"),
    "matrices alone": (ADAMW, _adam(decoupled=0.01), _adam(decoupled=0.01, vectors=False), "weight-decay-coupling"),
    "eps inside the root": (ADAM, _adam(), _adam(eps=0, root=1e-8), "optimizer-eps-placement"),
    "eps before the correction": (ADAM, _adam(), _adam(eps=0, raw=1e-8), "optimizer-eps-placement"),
    "another eps": (ADAM, _adam(), _adam(eps=1e-7), "optimizer-eps-placement"),
    "optax's rmsprop": (RMSPROP, _rmsprop(), _rmsprop(eps=0, root=1e-8), "optimizer-eps-placement"),
    "optax's rmsprop and decay": (
        RMSPROP,
        _rmsprop(),
        _rmsprop(eps=0, root=1e-8, decay=0.9),
        "optimizer-eps-placement",
    ),
    "optax's adagrad": (ADAGRAD, _adagrad(), _adagrad(eps=0, root=1e-7, start=0.1), "optimizer-eps-placement"),
    "a tenth of the rate": (ADAM, _adam(), _adam(rates=[0.01] * STEPS), "learning-rate-schedule"),
    "other rates": (SGD, _sgd(), _sgd(rates=[0.1, 0.2, 0.05, 0.1, 0.1, 0.1]), "learning-rate-schedule"),
    "beta2, which is none of the causes": (ADAM, _adam(), _rmsprop(), None),
    "another momentum": (SGD, _sgd(), _sgd(momenta=[0.8] * STEPS), None),
    "equal": (SGD, _sgd(), _sgd(), None),
}


@pytest.mark.parametrize("case", CASES)
def test_one_fault(case, of_optimizer):
    options, theirs, ours, cause = CASES[case]
    assert [d.cause for d in of_optimizer(options, theirs, ours)] == ([] if cause is None else [cause])


@pytest.mark.parametrize("case", CASES)
def test_one_fault_where_only_trainings_were_recorded(case, of_optimizer):
    options, theirs, ours, cause = CASES[case]
    found = of_optimizer(options, theirs, ours, given=False)
    assert [d.cause for d in found] == ([] if cause is None else [cause])


def test_a_schedule_off_by_one_is_found_at_the_step_where_it_shows(of_optimizer):
    late = [0.1] * 4 + [0.01] * 2
    (found,) = of_optimizer(SGD, _sgd(rates=STEPPED), _sgd(rates=late), rates=STEPPED, kept=(1, 2, 3, 4))
    assert found.cause == "learning-rate-schedule" and "step 4" in found.evidence
    assert "which is PyTorch's of the step before" in found.evidence
    early = [0.1] * 4 + [0.01] * 2
    (found,) = of_optimizer(SGD, _sgd(rates=early), _sgd(rates=[0.1] * 6), rates=early, kept=(1, 2, 3, 4, 5))
    assert "0.1 for 0.01 at step 5" in found.evidence
    inside = of_optimizer(SGD, _sgd(rates=STEPPED), _sgd(rates=STEPPED, inside=True), rates=STEPPED, kept=(1, 2, 3, 4))
    assert [d.cause for d in inside] == ["learning-rate-schedule"]


def test_a_fault_that_shows_late_starts_from_pytorch_s_state(of_optimizer):
    rates = [0.1] * 5 + [0.03]
    found = of_optimizer(ADAMW, _adam(decoupled=0.01), _adam(rates=rates, decoupled=0.01), kept=(1, 2, 3, 5, 6))
    assert [d.cause for d in found] == ["learning-rate-schedule"] and "0.03 for 0.1 at step 6" in found[0].evidence


def test_a_momentum_that_a_schedule_changes(of_optimizer):
    options = SGD | {"momentum": 0.95}
    stays = of_optimizer(options, _sgd(momenta=CYCLED), _sgd(momenta=[0.95] * STEPS), momenta=CYCLED)
    assert [d.cause for d in stays] == ["learning-rate-schedule"]
    nesterov = of_optimizer(options, _sgd(momenta=CYCLED), _sgd(momenta=CYCLED, nesterov=True), momenta=CYCLED)
    assert [d.cause for d in nesterov] == ["nesterov"]


def test_two_faults(of_optimizer):
    found = of_optimizer(DECAYED, _sgd(coupled=0.01), _sgd(nesterov=True))
    assert {d.cause for d in found} == {"nesterov", "weight-decay-coupling"}
    found = of_optimizer(ADAMW, _adam(decoupled=0.01), _adam(rates=[0.05] * STEPS, decoupled=1e-4))
    assert {d.cause for d in found} == {"weight-decay-coupling", "learning-rate-schedule"}


def test_parameters_in_float32(of_optimizer):
    assert [d.cause for d in of_optimizer(ADAM, _adam(), _adam(), narrow=True)] == ["dtype"]
    found = of_optimizer(SGD, _sgd(), _sgd(nesterov=True), narrow=True)
    assert [d.cause for d in found] == ["nesterov"]
    assert of_optimizer(ADAM, _adam(), _adam(), narrow=True, precision="float32") == ()


def test_optimizers_that_are_not_known_are_left_alone(of_optimizer):
    lion = {"name": "lion", "lr": 0.1}
    assert of_optimizer(lion, _sgd(), _sgd(nesterov=True)) == ()
    assert of_optimizer(SGD | {"groups": 2}, _sgd(), _sgd(nesterov=True)) == ()
    assert of_optimizer(SGD | {"momentum": 0.5}, _sgd(), _sgd(nesterov=True)) == ()  # not what PyTorch did
