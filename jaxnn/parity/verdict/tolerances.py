"""How far apart two implementations may be, stated before anything is measured.

An error is the largest difference of a tensor, as a share of a scale: the tensor's own largest magnitude; for
gradients that of all gradients of the model. Element by element, relative errors would compare roundings near zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_ADAPTIVE = ("adam", "adamw", "nadam", "rmsprop", "adagrad", "radam", "adamax", "adadelta")


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """One for each level. Where roundings add up (float32), ``optimizer`` is for each step taken, and ``scalars`` the
    share of a parameter's way so far by which an optimizer's own numbers, such as Adam's 1 - beta2**t, may be off.
    """

    forward: float
    buffers: float
    loss: float
    gradients: float
    optimizer: float
    trajectory: float
    adds_up: bool = False
    scalars: float = 0.0

    def optimizer_at(self, step: int, way: float = 0.0) -> float:
        """After ``step`` steps on which a parameter has gone ``way``, as a share of its scale."""
        return self.optimizer * (step if self.adds_up else 1) + self.scalars * way


def tolerances(precision: str, *, batch_norm: bool, optimizer: Mapping[str, object] | None = None) -> Tolerances:
    """Those of a precision. BatchNorm divides by a standard deviation and so amplifies rounding in a trajectory; an
    optimizer that divides by the gradients' size does so again."""
    if precision == "float64":
        adaptive = (optimizer or {}).get("name") in _ADAPTIVE
        trajectory = (1e-7 if adaptive else 1e-9) if batch_norm else 1e-12
        return Tolerances(
            forward=1e-12, buffers=1e-11, loss=1e-12, gradients=1e-11, optimizer=1e-11, trajectory=trajectory
        )
    # float32 rounds by 6e-8; a step of an optimizer rounds a tensor about eight times on either side, and optax takes
    # bias corrections in float32, which loses the digits that 1 - beta2 costs.
    betas = (optimizer or {}).get("betas")
    beta2 = betas[1] if isinstance(betas, list | tuple) else 0.0
    return Tolerances(
        forward=1e-5,
        buffers=1e-5,
        loss=1e-5,
        gradients=1e-5,
        optimizer=8 * 2.0**-24,
        trajectory=5e-4,
        adds_up=True,
        scalars=2.0**-24 / (1 - beta2),
    )


def error(ours: np.ndarray, theirs: np.ndarray, scale: float | None = None) -> float:
    """The largest difference as a share of ``scale`` (None: the largest magnitude of ``theirs``).

    Infinite for other shapes, and if NaN or infinities do not stand in the same places.
    """
    if ours.shape != theirs.shape:
        return np.inf
    if theirs.size == 0:
        return 0.0
    found, expected = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        largest = float(np.where(same, 0.0, np.abs(found - expected)).max())
    if not np.isfinite(largest):
        return np.inf
    return largest / ((magnitude(expected) if scale is None else scale) or 1.0)


def magnitude(array: np.ndarray) -> float:
    """The largest finite absolute value, 0 without any."""
    values = np.abs(array[np.isfinite(array)])
    return float(values.max()) if values.size else 0.0
