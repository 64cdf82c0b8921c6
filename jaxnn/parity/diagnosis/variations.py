"""What ports choose otherwise in an optimizer, as changes of PyTorch's rule."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from jaxnn.parity.diagnosis.hypothesis import Claim
from jaxnn.parity.diagnosis.reference.optimizers import EpsPlacement, Rule

_EPS = (1e-7, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-10, 1e-12, 0.0)
_ADAPTIVE = ("adam", "adamw", "nadam", "rmsprop", "adagrad")
_EPS_FIX = {
    "rmsprop": "optax.rmsprop(eps_in_sqrt=False, initial_scale=0), or jaxnn.optim.rmsprop",
    "adagrad": "jaxnn.optim.adagrad: optax's starts its sums at 0.1 and has eps inside the root",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """``options`` of a Rule, changed, and what that says. ``plain``: likely enough to come with another fault."""

    claim: Claim
    options: Mapping[str, Any]
    plain: bool = True


def plain_changes(rule: Rule, matrices: np.ndarray) -> Iterator[Change]:
    return (change for change in changes(rule, matrices, None) if change.plain)


def changes(rule: Rule, matrices: np.ndarray, solved_decay: float | None) -> Iterator[Change]:
    """One change each. ``matrices``: which elements belong to parameters that are no vectors."""
    yield from _nesterov(rule)
    yield from _dampening(rule)
    yield from _decay(rule, matrices)
    yield from _eps(rule)
    yield from _rates(rule)
    if solved_decay is not None:
        yield from _decay_of(rule, solved_decay, "solved from the first update", plain=False)


def _nesterov(rule: Rule) -> Iterator[Change]:
    fix = f"nesterov={rule.nesterov} in optax, as in PyTorch"
    if rule.momentum:
        says = "without Nesterov's look-ahead" if rule.nesterov else "with Nesterov's look-ahead, which PyTorch has off"
        yield _change("nesterov", says, fix, nesterov=not rule.nesterov)
    elif rule.name in ("adam", "adamw"):
        says = "with Nesterov's look-ahead (optax.nadam), which PyTorch has off"
        yield _change("nesterov", says, "optax.adam(nesterov=False), not optax.nadam", nesterov=True)
    elif rule.name == "nadam":
        fix = "jaxnn.optim.nadam: PyTorch's momentum follows a schedule (momentum_decay), optax.nadam's does not"
        says = "Nesterov's look-ahead without PyTorch's schedule of the momentum (optax.nadam)"
        yield _change("nesterov", says, fix, name="adam", nesterov=True)
        yield _change("nesterov", "plain Adam, without Nesterov's look-ahead", fix, name="adam")


def _dampening(rule: Rule) -> Iterator[Change]:
    if rule.name != "sgd" or not rule.momentum:
        return
    fix = (
        f"PyTorch's dampening={rule.dampening:g} spares the first gradient, which enters the buffer whole: "
        "jaxnn.optim.sgd does so"
    )
    if rule.dampening:
        yield _change("dampening", f"dampening = {rule.dampening:g} on the first gradient too", fix, dampen_first=True)
        yield _change("dampening", f"without dampening, where PyTorch has {rule.dampening:g}", fix, dampening=0.0)
    for dampen_first, how in ((True, ""), (False, ", but for the first step")):
        says = f"gradients enter the buffer as an average, times 1 - momentum = {1 - rule.momentum:g}{how}"
        yield _change("dampening", says, fix, dampening=rule.momentum, dampen_first=dampen_first)


def _decay(rule: Rule, matrices: np.ndarray) -> Iterator[Change]:
    own = rule.weight_decay
    if own:
        says = "decay added to the gradient (L2)" if rule.decoupled else "decay taken off the parameters (decoupled)"
        yield _change("weight-decay-coupling", f"{says} with {own:g}", _decay_fix(rule), decoupled=not rule.decoupled)
        yield from _decay_of(rule, 0.0, "none")
        if not matrices.all():
            says = f"weight decay of {own:g} on matrices and kernels alone, not on vectors such as biases"
            yield _change("weight-decay-coupling", says, _decay_fix(rule), decayed=matrices.astype(np.float64))
    yield from _decay_of(rule, 1e-4, "the default of optax.adamw")
    for amount, why in ((1e-2, "the default of torch.optim.AdamW"), (own / 2, "half"), (2 * own, "twice")):
        yield from _decay_of(rule, amount, why, plain=False)


def _decay_of(rule: Rule, amount: float, why: str, *, plain: bool = True) -> Iterator[Change]:
    if amount == rule.weight_decay:
        return
    for decoupled, how in ((rule.decoupled, ""), (not rule.decoupled, " and the other coupling")):
        says = f"weight decay {amount:.6g} ({why}){how}, where PyTorch has {rule.weight_decay:g}"
        options = {"weight_decay": amount, "decoupled": decoupled}
        yield _change("weight-decay-coupling", says, _decay_fix(rule), plain=plain and not how, **options)


def _decay_fix(rule: Rule) -> str:
    if rule.decoupled:
        return f"optax.adamw(weight_decay={rule.weight_decay:g}), without a mask; optax's default is 1e-4"
    if not rule.weight_decay:
        return "no weight decay: PyTorch's is 0"
    first = f"optax.chain(optax.add_decayed_weights({rule.weight_decay:g}), optax.{rule.name}(...))"
    return f"PyTorch's torch.optim.{rule.name} adds the decay to the gradient: {first}, in that order"


def _eps(rule: Rule) -> Iterator[Change]:
    if rule.name not in _ADAPTIVE:
        return
    fix = _EPS_FIX.get(rule.name, f"optax.{rule.name}(eps={rule.eps:g}, eps_root=0): PyTorch adds eps to the root")
    placements = get_args(EpsPlacement)
    if rule.name in ("rmsprop", "adagrad"):
        placements = ("outside", "inside")
    for placement in placements:
        for eps in dict.fromkeys((rule.eps, *_EPS)):
            if (placement, eps) == ("outside", rule.eps):
                continue
            amount = f"eps = {eps:g}" + ("" if eps == rule.eps else f" (PyTorch: {rule.eps:g})")
            says = f"{amount} {_where(placement)}"
            plain = eps == rule.eps or (eps == 0 and placement == "outside")
            yield _change("optimizer-eps-placement", says, fix, plain=plain, eps=eps, eps_placement=placement)
    yield from _optax_defaults(rule, fix)


def _where(placement: EpsPlacement) -> str:
    return {
        "outside": "added to the root",
        "inside": "inside of the root",
        "before correction": "added to the root before the bias of the second moment is corrected",
        "inside, before correction": "inside of the root, before the bias of the second moment is corrected",
    }[placement]


def _optax_defaults(rule: Rule, fix: str) -> Iterator[Change]:
    cause = "optimizer-eps-placement"
    for placement in ("inside", "outside"):
        where = _where(placement)
        if rule.name == "adagrad":
            for eps in dict.fromkeys((rule.eps, 1e-7)):
                says = f"sums that start at 0.1 and eps = {eps:g} {where} (optax.adagrad)"
                yield _change(cause, says, fix, initial_accumulator_value=0.1, eps=eps, eps_placement=placement)
        if rule.name == "rmsprop" and placement == "inside":
            alpha = f"a decay of 0.9 for PyTorch's alpha = {rule.betas[1]:g}"
            says = f"{alpha}, and eps = {rule.eps:g} {where} (optax.rmsprop)"
            yield _change(
                cause, says, fix + f", with decay={rule.betas[1]:g}", betas=(0.0, 0.9), eps_placement="inside"
            )


def _rates(rule: Rule) -> Iterator[Change]:
    if rule.momentum:
        says = "the learning rate multiplied before the momentum, where PyTorch multiplies it after"
        fix = "chain the momentum before the learning rate: optax.chain(scale, trace, scale_by_learning_rate)"
        yield _change("learning-rate-schedule", says, fix, rate_in_buffer=True)
    if rule.momentum or rule.name in ("adam", "adamw", "nadam"):
        says = "a momentum that stays, where PyTorch's schedule changes it too (OneCycleLR, CyclicLR)"
        fix = "give optax the momentum of each step too (optax.inject_hyperparams)"
        yield _change("learning-rate-schedule", says, fix, cycled=False)
    if rule.name in ("adam", "adamw"):
        says = "Adam without its bias corrections, a factor of the learning rate at each step"
        fix = "use optax.adam, which corrects the bias of both moments as PyTorch does"
        yield _change("learning-rate-schedule", says, fix, corrected=False)


def _change(cause: str, says: str, fix: str, *, plain: bool = True, **options: Any) -> Change:
    return Change(claim=Claim(cause=cause, says=says, fix=fix), options=options, plain=plain)
