"""How the running statistics of batch normalization move: momentum, and the variance that they take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jaxnn.parity.diagnosis.batchnorm import EVAL_FIX, TRAIN_FIX, VARIANCE_FIX, Chosen
from jaxnn.parity.diagnosis.evidence import Evidence, array, of_module
from jaxnn.parity.diagnosis.hypothesis import Catalogue, Claim, Finding, Hypothesis, hypothesis, likeliest
from jaxnn.parity.diagnosis.reference.normalization import Statistics, running, statistics


def of_running_statistics(evidence: Evidence, module: str) -> Finding | None:
    """Why the running statistics of a BatchNorm module differ after one pass."""
    calls = [layer for layer in evidence.left.layers if layer.module == module]
    given = evidence.left.arrays if evidence.fed else evidence.right.arrays
    inputs = [array(given, f"forward/{layer.name}/input") for layer in calls]
    start = of_module(evidence.left.arrays, "weight", module)
    sides = [of_module(recording.arrays, "buffer", module) for recording in (evidence.left, evidence.right)]
    names = ("running_mean", "running_var")
    found = [x for x in inputs if x is not None]
    if not found or any(name not in arrays for name in names for arrays in (start, *sides)):
        return None
    statistics_of_module = Running(
        start=(start[names[0]].astype(np.float64), start[names[1]].astype(np.float64)),
        seen=[statistics(x) for x in found],
        momentum=calls[0].options.get("momentum", 0.1),
        tracked=int(start.get("num_batches_tracked", np.zeros(()))),
        train=evidence.left.train,
    )
    if any(arrays[name].shape != start[name].shape for name in names for arrays in sides):
        return None
    reference, observed = (statistics_of_module.scaled(*(arrays[name] for name in names)) for arrays in sides)
    return likeliest(module, buffers(statistics_of_module, observed), reference, observed)


@dataclass(frozen=True, kw_only=True)
class Running:
    """The running statistics of a BatchNorm module: where they start, what they saw, ``momentum`` and ``train``."""

    start: Chosen
    seen: Sequence[Statistics]
    momentum: float | None
    tracked: int
    train: bool

    def after(self, momentum: float | None, *, unbiased: bool) -> np.ndarray:
        """(2, channel): mean and variance, each on the scale of the largest that was met."""
        variances = [s.unbiased_var if unbiased else s.var for s in self.seen]
        mean = running(self.start[0], [s.mean for s in self.seen], momentum, self.tracked)
        return self.scaled(mean, running(self.start[1], variances, momentum, self.tracked))

    def scaled(self, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
        means, variances = [s.mean for s in self.seen], [s.unbiased_var for s in self.seen]
        return np.stack([mean / _power_of_two(self.start[0], *means), var / _power_of_two(self.start[1], *variances)])


def _power_of_two(*arrays: np.ndarray) -> float:
    """Near the largest magnitude: a scale that leaves every significant bit where it is."""
    return float(np.exp2(np.floor(np.log2(max(np.abs(x).max() for x in arrays) or 1.0))))


def buffers(r: Running, observed: np.ndarray) -> Catalogue:
    """Of the running mean and variance together, ``observed`` being (2, channel) as ``Running.scaled`` gives them."""
    if not r.train:
        for momentum in (r.momentum, *_momenta(r, observed)):
            says = "the running statistics moved, in evaluation"
            yield hypothesis("train-eval-mode", says, EVAL_FIX, lambda m=momentum: r.after(m, unbiased=False))
        return
    says = "the running statistics stay where they were, in training"
    yield hypothesis("train-eval-mode", says, TRAIN_FIX, lambda: r.scaled(*r.start))
    yield Hypothesis(claims=(_biased(r),), predict=lambda: r.after(r.momentum, unbiased=False))
    for momentum in _momenta(r, observed):
        claim = _other_momentum(r, momentum)
        yield Hypothesis(claims=(claim,), predict=lambda m=momentum: r.after(m, unbiased=True))
        yield Hypothesis(claims=(claim, _biased(r)), predict=lambda m=momentum: r.after(m, unbiased=False))


def _momenta(r: Running, observed: np.ndarray) -> Iterator[float]:
    """Weights of the new statistic: those that ports have by convention or default, then solved ones."""
    usual = () if r.momentum is None else (1 - r.momentum,)
    for momentum in (*usual, 0.01, 0.1, 0.99, 0.9, 0.001, 0.999):
        if momentum != r.momentum:
            yield momentum
    if len(r.seen) == 1:
        start = r.scaled(*r.start)
        for unbiased in (True, False):
            step = r.after(1.0, unbiased=unbiased) - start
            solved = float((step * (observed - start)).sum() / ((step**2).sum() or 1.0))
            if r.momentum is None or abs(solved - r.momentum) > 1e-3 * r.momentum:
                yield solved


def _biased(r: Running) -> Claim:
    count = r.seen[0].count
    says = (
        f"the running variance moved by the biased variance of the batch, (n - 1) / n = {(count - 1) / count:.6g} "
        f"times the unbiased one (n = {count})"
    )
    return Claim(cause="batchnorm-running-variance", says=says, fix=VARIANCE_FIX)


def _other_momentum(r: Running, momentum: float) -> Claim:
    own = "a plain average (momentum=None)" if r.momentum is None else f"momentum={r.momentum:g}"
    wanted = "" if r.momentum is None else f": flax's BatchNorm(momentum={1 - r.momentum:g}) is PyTorch's {own}"
    return Claim(
        cause="batchnorm-momentum",
        says=f"the running statistics moved by {momentum:.6g} of the way to the batch's, where PyTorch has {own}",
        fix=f"flax's momentum is the share of the old statistic that stays, PyTorch's that of the new one{wanted}",
    )
