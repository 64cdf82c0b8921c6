"""Dropout in the wrong mode or with the wrong scale."""

from collections.abc import Iterator

import numpy as np

from jaxnn.parity.diagnosis.alternative import Alternative
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, hypothesis

_SCALE_FIX = (
    "what is kept is divided by 1 - p, where p is the share that is dropped: nnx.Dropout(rate=p), or "
    "jnp.where(mask, x / (1 - p), 0)"
)
_TRAIN_FIX = "call model.train() before training; nnx.Dropout(deterministic=True) drops nothing"
_EVAL_FIX = "call model.eval() before evaluation, or pass deterministic=True"


def alternatives(p: float, mask: np.ndarray | None) -> Iterator[Alternative]:
    """In place of a dropout in training; none without its mask."""
    if mask is None or not 0 < p < 1:
        return
    yield _alternative("train-eval-mode", "dropout drops nothing in training", _TRAIN_FIX, np.ones(mask.shape))
    for scale, says in (
        (1.0, "kept values are not scaled"),
        (1 / p, f"kept values are divided by p = {p:g} in place of 1 - p"),
        (1 - p, f"kept values are multiplied by 1 - p = {1 - p:g} in place of being divided"),
        (p, f"kept values are multiplied by p = {p:g}"),
    ):
        yield _alternative("dropout-scale", f"{says} (p = {p:g})", _SCALE_FIX, mask * scale)
    for scale in (1 / (1 - p), 1 / p, 1.0):
        says = f"what PyTorch keeps is dropped, and the rest kept and multiplied by {scale:g} (p = {p:g})"
        yield _alternative("dropout-scale", says, _SCALE_FIX, ~mask.astype(bool) * scale)


def scaled(p: float, reference: np.ndarray, observed: np.ndarray) -> Catalogue:
    """Any constant factor on what PyTorch's dropout gives, in training."""
    if reference.shape != observed.shape or not np.any(reference) or not 0 < p < 1:
        return
    factor = float((observed * reference).sum() / (reference**2).sum())
    kept = factor / (1 - p)
    if factor <= 0:  # a scale is not all that is wrong
        return
    yield hypothesis(
        "dropout-scale",
        f"every kept value is multiplied by {kept:.9g}, where 1 / (1 - p) = {1 / (1 - p):.9g} (p = {p:g})",
        _SCALE_FIX,
        lambda: reference * factor,
    )


def in_evaluation(p: float, reference: np.ndarray, observed: np.ndarray) -> Catalogue:
    """Values dropped, or scaled, where PyTorch leaves them alone."""
    if reference.shape != observed.shape:
        return
    there = reference != 0
    kept = there & (observed != 0)
    share = kept.sum() / max(there.sum(), 1)
    if not kept.any():
        return
    factor = float((observed * reference)[kept].sum() / (reference[kept] ** 2).sum())
    if factor <= 0:
        return
    if share == 1:
        says = f"every value is multiplied by {factor:.9g} in evaluation (p = {p:g})"
        yield hypothesis("dropout-scale", says, _EVAL_FIX, lambda: reference * factor)
    elif kept.sum() >= 8:  # of fewer, a factor could be anything
        says = f"{share:.0%} of the values kept and multiplied by {factor:.9g}, in evaluation (p = {p:g})"
        yield hypothesis("train-eval-mode", says, _EVAL_FIX, lambda: reference * factor * kept)


def unannounced(reference: np.ndarray, observed: np.ndarray) -> Catalogue:
    """A dropout in evaluation, told by its numbers alone: some are zero, and the rest larger to make up for it."""
    if observed.shape != reference.shape:
        return
    there = reference != 0
    kept = there & (observed != 0)
    if kept.sum() < 8 or kept.sum() == there.sum():
        return
    factor = float((observed * reference)[kept].sum() / (reference[kept] ** 2).sum())
    expected = 1 / factor if factor > 1 else 1.0
    spread = np.sqrt(expected * (1 - expected) / there.sum())
    if abs(kept.sum() / there.sum() - expected) < 5 * spread:
        yield from in_evaluation(1 - expected, reference, observed)


def _alternative(cause: str, says: str, fix: str, factor: np.ndarray) -> Alternative:
    claim = Claim(cause=cause, says=says, fix=fix)
    return Alternative(claim=claim, compute=lambda x: x * factor)
