"""PyTorch's activations, by their names in torch.nn.functional."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

Activation = Callable[..., np.ndarray]


def identity(x: np.ndarray) -> np.ndarray:
    return x


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def leaky_relu(x: np.ndarray, *, negative_slope: float = 0.01) -> np.ndarray:
    return np.where(x > 0, x, negative_slope * x)


def elu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def selu(x: np.ndarray) -> np.ndarray:
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return scale * elu(x, alpha=alpha)


def gelu(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * special.ndtr(x)


def silu(x: np.ndarray) -> np.ndarray:
    return x * special.expit(x)


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(softplus(x))


def softplus(x: np.ndarray, *, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def softsign(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.abs(x))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return special.expit(x)


def logsigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -x)


def tanh(x: np.ndarray) -> np.ndarray:
    return np.tanh(x)


def hardtanh(x: np.ndarray, *, min_val: float = -1.0, max_val: float = 1.0) -> np.ndarray:
    return np.clip(x, min_val, max_val)


def hardsigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 3, 0, 6) / 6


def hardswish(x: np.ndarray) -> np.ndarray:
    return x * hardsigmoid(x)


def softmax(x: np.ndarray, *, dim: int | None = None) -> np.ndarray:
    return special.softmax(x, axis=-1 if dim is None else dim)


def log_softmax(x: np.ndarray, *, dim: int | None = None) -> np.ndarray:
    return special.log_softmax(x, axis=-1 if dim is None else dim)


ACTIVATIONS: Mapping[str, Activation] = {
    f.__name__: f
    for f in (relu, leaky_relu, gelu, tanh, sigmoid, silu, elu, softplus, relu6, selu, celu, mish)
    + (softsign, logsigmoid, hardtanh, hardsigmoid, hardswish, softmax, log_softmax, identity)
}

MODULES: Mapping[str, str] = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "CELU": "celu",
    "SELU": "selu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "logsigmoid",
    "Tanh": "tanh",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Identity": "identity",
}
"""The functions that modules of these classes apply."""

_OPTIONS = {"negative_slope", "alpha", "approximate", "beta", "threshold", "min_val", "max_val", "dim"}


def options_of(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a module's or call's options that the activation takes."""
    keywords = getattr(ACTIVATIONS[name], "__kwdefaults__", None) or {}
    return {key: value for key, value in options.items() if key in _OPTIONS and key in keywords}
