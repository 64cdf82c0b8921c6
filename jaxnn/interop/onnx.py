"""ONNX files of trained models: written with jax2onnx, run with ONNX Runtime."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn import precision
from jaxnn.errors import UserError, first_line
from jaxnn.interop.image_layout import Layout, in_layout, shape_in
from jaxnn.nn import conv_method
from jaxnn.trained import Description, Trained

OPSET = 18
"""ONNX 1.13, which ONNX Runtime runs from release 1.14 on."""
_IR_VERSION = 8  # of ONNX 1.13; jax2onnx states a newer one
_PACKAGES = ("jax2onnx", "onnx", "onnxruntime", "onnxscript")


def require() -> None:
    """Raises UserError if a package that this needs is not installed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX files need {', '.join(missing)}, which is not installed: pip install 'jaxnn[onnx]'")


def convert(trained: Trained, layout: Layout) -> bytes:
    """The model as an ONNX file: "input" (batch, channels, height, width) in layout nchw, else with channels last, or
    (batch, features); "output" (batch, outputs); float32, of any batch size, for opset ``OPSET``.

    It takes what the network takes: images normalized, as the file's metadata say (``described``). Raises UserError if
    jax2onnx does not know this release of JAX.
    """
    import jax2onnx

    from jaxnn.interop import onnx_layout, onnx_pooling

    model = trained.model
    with (
        precision.activate("float32"),
        conv_method("lax"),
        _quiet("jax2onnx", "onnx_ir"),
        onnx_pooling.lowered(),
        _saying_if_versions_do_not_fit(),
    ):
        traced = jax2onnx.to_onnx(
            lambda x: model(x),  # type: ignore[operator]
            [("batch", *trained.input_shape)],
            model_name=trained.recipe.name,
            opset=OPSET,
            inputs_as_nchw=[0] if trained.is_image and layout == "nchw" else None,
            input_names=["input"],
            output_names=["output"],
        )
    traced.ir_version = _IR_VERSION
    return described(onnx_layout.channels_first(traced), trained, layout)


def described(model: Any, of: Description, layout: Layout) -> bytes:
    """The ONNX ``model``, or the file of one, checked and with metadata that say how to use it, each a JSON value."""
    import onnx

    model = onnx.load(model) if isinstance(model, Path) else model

    spec = of.recipe.input
    if of.is_image:
        normalization = {"scale": 255, "mean": spec.mean, "std": spec.std}  # (pixel / scale - mean) / std
    else:
        # (column - mean) / std, 0 where std is 0; without mean and std for a run that does not know its data's
        known = {} if of.scaling is None else dataclasses.asdict(of.scaling)
        normalization = {"standardize": spec.standardize} | known
    metadata = {
        "classes": of.classes,
        "normalization": normalization,
        "input_shape": shape_in(of.input_shape, layout),
        "layout": layout if of.is_image else "features",
        "loss": of.recipe.loss.name,
        "recipe": of.recipe.name,
        "jaxnn_version": importlib.metadata.version("jaxnn"),
    }
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def runner(file: bytes, layout: Layout) -> Callable[[np.ndarray], np.ndarray]:
    """ONNX Runtime on the CPU as a function of inputs with channels last."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(inputs: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["output"], {"input": in_layout(inputs, layout)})[0])

    return run


@contextlib.contextmanager
def _saying_if_versions_do_not_fit() -> Iterator[None]:
    """jax2onnx reaches into JAX, whose insides change from release to release."""
    try:
        yield
    except (AttributeError, ImportError, TypeError) as error:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax2onnx", "jax")]
        raise UserError(
            f"ONNX: {' and '.join(versions)} do not fit together ({first_line(error)}); "
            "pip install --upgrade jax2onnx 'jax<0.12'"
        ) from error


@contextlib.contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """They warn, with tracebacks, of jax2onnx's parts for other libraries and of shapes that it leaves open."""
    logs = [logging.getLogger(name) for name in loggers]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)
