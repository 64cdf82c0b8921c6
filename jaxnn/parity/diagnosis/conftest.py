"""Recordings made by hand, for one place at a time: what the reference has there, and what JAX has in its place."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from jaxnn.parity.diagnosis import Evidence, diagnose
from jaxnn.parity.recording import Arrays, Layer, Op, Recording
from jaxnn.parity.report import Diagnosis, Entry

Diagnoses = tuple[Diagnosis, ...]


def _entry(level: Any, name: str, what: str, *, alone: bool = False) -> Entry:
    return Entry(level=level, torch_name=name, nnx_path="", what=what, error=1.0, tolerance=1e-12, alone=alone)


@pytest.fixture
def entry() -> Callable[..., Entry]:
    """A failing entry of a level, for a name and what of it."""
    return _entry


@pytest.fixture
def diagnosed() -> Callable[..., Diagnoses]:
    """The diagnoses of two sets of arrays."""

    def run(
        left: Arrays,
        right: Arrays,
        *entries: Entry,
        layers: tuple[Layer, ...] = (),
        after: tuple[Op, ...] = (),
        history: Mapping[int, tuple[Arrays, Arrays]] | None = None,
        train: bool = True,
        precision: str = "float64",
        optimizer: dict[str, Any] | None = None,
    ) -> Diagnoses:
        settings: dict[str, Any] = {"precision": precision, "train": train, "layers": layers}
        theirs = Recording(framework="torch", arrays=left, after=after, optimizer=optimizer or {}, **settings)
        ours = Recording(framework="jax", arrays=right, **settings)
        return diagnose(Evidence(left=theirs, right=ours, entries=entries, history=history or {}))

    return run


@pytest.fixture
def of_layer(diagnosed: Callable[..., Diagnoses]) -> Callable[..., Diagnoses]:
    """The diagnoses of a layer that was given ``x`` and should give ``reference``."""

    def run(
        layer: Layer,
        weights: Mapping[str, np.ndarray],
        x: np.ndarray,
        reference: np.ndarray,
        observed: np.ndarray,
        *,
        masks: tuple[np.ndarray, ...] = (),
        **settings: Any,
    ) -> Diagnoses:
        left = {f"weight/{layer.name}.{name}": value for name, value in weights.items()}
        left |= {f"mask/{number}": mask for number, mask in enumerate(masks)}
        left |= {f"forward/{layer.name}/input": x, f"forward/{layer.name}/output": reference}
        right = {f"alone/{layer.name}/input": x, f"alone/{layer.name}/output": observed}
        return diagnosed(left, right, _entry("forward", layer.name, "output", alone=True), layers=(layer,), **settings)

    return run


@pytest.fixture
def of_span(diagnosed: Callable[..., Diagnoses]) -> Callable[..., Diagnoses]:
    """The diagnoses of the functions ``ops`` between the inputs and the model's outputs."""

    def run(
        ops: tuple[Op, ...],
        start: np.ndarray,
        reference: np.ndarray,
        observed: np.ndarray,
        *,
        masks: tuple[np.ndarray, ...] = (),
        **settings: Any,
    ) -> Diagnoses:
        left = {"inputs": start, "outputs": reference} | {f"mask/{i}": mask for i, mask in enumerate(masks)}
        right = {"alone/outputs": observed}
        return diagnosed(left, right, _entry("forward", "outputs", "output", alone=True), after=ops, **settings)

    return run


@pytest.fixture
def correlated() -> Callable[..., np.ndarray]:
    """A convolution written otherwise than the one under test: (N, I, H, W) padded by NumPy, then one product."""

    def run(
        x: np.ndarray,
        weight: np.ndarray,
        pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
        *,
        stride: int = 1,
        mode: Any = "constant",
    ) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), *pads), mode=mode)
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
        return np.einsum("nihwkl,oikl->nohw", windows[:, :, ::stride, ::stride], weight)

    return run
