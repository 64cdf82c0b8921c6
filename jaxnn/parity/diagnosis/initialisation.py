"""What a parameter's initial values look like: of which distribution, and how wide."""

import numpy as np

from jaxnn.parity.diagnosis.hypothesis import Claim, Finding

_TRUNCATED = 0.87962566103423978  # the deviation of a standard normal cut off at +-2, which flax makes up for
_CLOSE = 0.1


def initialisation(name: str, reference: np.ndarray, observed: np.ndarray, fan: tuple[int, int] | None) -> Finding:
    """``fan``: the numbers of inputs and outputs of one unit, where the parameter belongs to a layer that has them."""
    bound = "" if fan is None else f"; PyTorch's default is uniform within 1/sqrt(fan_in) = {fan[0] ** -0.5:.4g}"
    says = f"{name}: JAX starts from {described(observed, fan)}, PyTorch from {described(reference, fan)}{bound}"
    fix = "give the layer PyTorch's initialisation: jaxnn.nn has it, " + (
        "and for a stock layer bias_init the same uniform bound, 1/sqrt(fan_in) of the weight"
        if name.endswith("bias")
        else "or kernel_init=nnx.initializers.variance_scaling(1/3, 'fan_in', 'uniform')"
    )
    return Finding(claims=(Claim(cause="initialisation", says=says, fix=fix),), evidence=says)


def described(values: np.ndarray, fan: tuple[int, int] | None) -> str:
    """A few words: "zeros", "a truncated normal of deviation 0.0357 = sqrt(1/fan_in) (LeCun)"."""
    if np.all(values == values.flat[0]):
        constant = float(values.flat[0])
        return {0.0: "zeros", 1.0: "ones"}.get(constant, f"the constant {constant:g}")
    deviation, largest = float(values.std()), float(np.abs(values).max())
    if values.size < 30:  # of so few the shape does not show
        return f"{values.size} values of deviation {deviation:.3g}"
    kind = _kind(values, deviation, largest)
    near = "" if fan is None else _named(deviation, *fan)
    return f"{kind} of deviation {deviation:.3g}{near}"


def _kind(values: np.ndarray, deviation: float, largest: float) -> str:
    kurtosis = float(((values - values.mean()) ** 4).mean() / deviation**4)  # uniform 1.8, cut off at +-2 2.1, normal 3
    if kurtosis < 1.95:
        return f"a uniform distribution within {largest:.3g}"
    cut = largest <= 2 * deviation / _TRUNCATED * 1.02 and kurtosis < 2.5
    return "a truncated normal distribution" if cut else "a normal distribution"


def _named(deviation: float, fan_in: int, fan_out: int) -> str:
    known = {
        "sqrt(1/(3 fan_in)) (PyTorch's default)": (1 / (3 * fan_in)) ** 0.5,
        "sqrt(1/fan_in) (LeCun, flax's default)": (1 / fan_in) ** 0.5,
        "sqrt(2/fan_in) (He)": (2 / fan_in) ** 0.5,
        "sqrt(2/(fan_in + fan_out)) (Glorot)": (2 / (fan_in + fan_out)) ** 0.5,
    }
    name, nearest = min(known.items(), key=lambda item: abs(np.log(item[1] / deviation)))
    return f", near {name} = {nearest:.3g}" if abs(nearest / deviation - 1) < _CLOSE else ""
