"""Whether an exported model still computes what the trained one does: both, and PyTorch, on the same examples."""

import importlib.util
import itertools
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from jaxnn import precision, trained
from jaxnn.data import Dataset
from jaxnn.interop.state_dict import state_dict, to_nnx
from jaxnn.nn import conv_method
from jaxnn.run_dir import RunDir
from jaxnn.trained import Description, Trained

EXAMPLES = 100
TOLERANCE = 1e-5
"""Of the largest output: a few hundred float32 roundings."""

Runner = Callable[[np.ndarray], np.ndarray]
"""From float32 inputs, normalized and with channels last, to outputs (N, outputs)."""


def compare(runners: Mapping[str, Runner], inputs: np.ndarray) -> dict[str, float]:
    """Of each pair of runners the largest difference on ``inputs`` as one batch and on the first of them alone,
    relative to the largest output; infinite where shapes differ."""
    outputs = {name: [run(inputs[:1]), run(inputs)] for name, run in runners.items()}
    return {f"{a} - {b}": _error(outputs[a], outputs[b]) for a, b in itertools.combinations(outputs, 2)}


def _error(reference: list[np.ndarray], found: list[np.ndarray]) -> float:
    if any(a.shape != b.shape for a, b in zip(reference, found, strict=True)):
        return float("inf")
    wide = np.concatenate(reference).astype(np.float64)
    return float(np.abs(wide - np.concatenate(found)).max() / (np.abs(wide).max() or 1.0))


def examples(of: Description, dataset: Dataset | None) -> np.ndarray:
    """The first ``EXAMPLES`` test examples, or without a data set as many random ones, as the model takes them."""
    if dataset is not None:
        inputs = dataset.test.inputs[:EXAMPLES]
    elif of.is_image:
        inputs = np.random.default_rng(0).integers(256, size=(EXAMPLES, *of.input_shape), dtype=np.uint8)
    else:
        inputs = np.random.default_rng(0).standard_normal((EXAMPLES, *of.input_shape), np.float32)
    if inputs.dtype != np.uint8:
        return np.asarray(inputs, np.float32)
    mean, std = (np.asarray(value, np.float32) for value in (of.recipe.input.mean, of.recipe.input.std))
    return (inputs.astype(np.float32) / np.float32(255) - mean) / std


def jax_runner(of: Trained) -> Runner:
    def run(inputs: np.ndarray) -> np.ndarray:
        with precision.activate("float32"), conv_method("lax"):
            return np.asarray(of.model(jnp.asarray(inputs)))  # type: ignore[operator]

    return run


def jax_twin(described: Description, weights: Mapping[str, np.ndarray], run: RunDir) -> Trained:
    """The model of a run of PyTorch in JAX; ``weights``: its state_dict()."""
    structure = trained.structure(described, jnp.float32)
    _, *trees, _ = structure.state
    params, buffers = (to_nnx(structure.rules, weights, tree) for tree in trees)
    return trained.filled(described, params, buffers, run)


def torch_runner(of: Trained) -> Runner | None:
    """The PyTorch mirror with the same weights, on the CPU; None if PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    import torchref.models

    with torch.device("meta"):  # weights that are to be replaced are not drawn
        model = torchref.models.build(of.recipe.model, input_shape=of.input_shape, outputs=of.outputs)
    model.load_state_dict({name: torch.tensor(value) for name, value in state_dict(of.model).items()}, assign=True)
    model.eval()

    def run(inputs: np.ndarray) -> np.ndarray:
        moved = inputs.transpose(0, 3, 1, 2) if inputs.ndim == 4 else inputs
        with torch.inference_mode():
            return model(torch.tensor(np.ascontiguousarray(moved))).numpy()

    return run
