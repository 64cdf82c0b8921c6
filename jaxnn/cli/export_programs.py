"""Models written as programs, ONNX and StableHLO: only once they are seen to compute what the run's model does."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxnn import compilation_cache
from jaxnn.checkpoint_choice import Choice
from jaxnn.cli import backends
from jaxnn.data import Dataset, load_for
from jaxnn.errors import Ended, UserError
from jaxnn.files import write_atomically
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir

if TYPE_CHECKING:
    from jaxnn.interop.agreement import Runner
    from jaxnn.trained import Description


@dataclass(frozen=True, kw_only=True)
class Export:
    """What to write: a checkpoint of a run, to ``file``, which may be written. ``notice`` tells the user."""

    run: RunDir
    checkpoint: Choice
    recipe: Recipe
    framework: Framework
    file: Path
    layout: Literal["nchw", "nhwc"]
    data_dir: Path | None
    overwrite: bool
    notice: Callable[[str], None]


def onnx(export: Export) -> dict[str, Any]:
    """Writes an ONNX file; returns what is known of it. Raises Ended (1) if it does not compute the same."""
    compilation_cache.choose()
    from jaxnn.interop import onnx

    onnx.require()
    if export.framework == "torch":
        return {"opset": onnx.OPSET} | _from_torch(export)
    return {"opset": onnx.OPSET} | _from_jax(export, "ONNX Runtime", onnx)


def stablehlo(export: Export) -> dict[str, Any]:
    """Writes a StableHLO file; returns what is known of it. Raises Ended (1) if it does not compute the same."""
    if export.framework == "torch":
        raise UserError(f"{export.run.path} was trained in PyTorch and cannot become {export.file.name}; use .onnx")
    compilation_cache.choose()
    from jaxnn.interop import stablehlo

    return {"platforms": stablehlo.PLATFORMS} | _from_jax(export, "StableHLO", stablehlo)


def _from_jax(export: Export, name: str, program: Any) -> dict[str, Any]:
    """``program``: a module with ``convert`` and ``runner``."""
    from jaxnn import trained
    from jaxnn.interop import agreement

    model = trained.load(export.run, export.recipe, export.notice, checkpoint=export.checkpoint)
    inputs, kind = _inputs(export, model)
    content = program.convert(model, export.layout)
    runners = {"JAX": agreement.jax_runner(model)}
    if (in_torch := agreement.torch_runner(model)) is not None:
        runners["PyTorch"] = in_torch
    else:
        export.notice("PyTorch is not installed: only JAX and the file are compared")
    runners[name] = program.runner(content, export.layout)
    return _write_if_equal(export, content, runners, inputs, kind)


def _from_torch(export: Export) -> dict[str, Any]:
    """As ``_from_jax``, for a run of PyTorch: a child process makes the file and says what it should compute."""
    from jaxnn import trained
    from jaxnn.interop import agreement, onnx

    described = trained.describe(export.run, export.recipe)
    inputs, kind = _inputs(export, described)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "inputs.npy", inputs)
        backends.export_torch(
            export.run, folder, export.notice, checkpoint=export.checkpoint, layout=export.layout, opset=onnx.OPSET
        )
        content = onnx.described(folder / "model.onnx", described, export.layout)
        with np.load(folder / "outputs.npz") as saved:
            outputs = dict(saved)
        with np.load(folder / "weights.npz") as saved:
            twin = agreement.jax_twin(described, dict(saved), export.run)
    runners: dict[str, Runner] = {
        "JAX": agreement.jax_runner(twin),
        "PyTorch": lambda batch: outputs["first" if len(batch) == 1 else "all"],
        "ONNX Runtime": onnx.runner(content, export.layout),
    }
    return _write_if_equal(export, content, runners, inputs, kind)


def _inputs(export: Export, of: "Description") -> tuple[np.ndarray, str]:
    """What the models are compared on, and how to call it."""
    from jaxnn.interop import agreement

    if export.recipe.precision != "float32":
        export.notice(
            f"{export.run.path} was trained in {export.recipe.precision}: the file is, and is checked, in float32"
        )
    dataset = _dataset(export, of.input_shape)
    inputs = agreement.examples(of, dataset)
    what = "images" if of.is_image else "rows"
    return inputs, f"{len(inputs)} {f'test {what} of {dataset.name}' if dataset else f'random {what} (seed 0)'}"


def _dataset(export: Export, input_shape: tuple[int, ...]) -> Dataset | None:
    """The run's data; None, with a note, if they cannot be found."""
    if export.data_dir is not None:
        dataset = load_for(export.recipe.replace(data_dir=str(export.data_dir.resolve())))
    else:
        try:
            dataset = load_for(export.recipe)
        except UserError as error:
            export.notice(f"{error}; checking on random inputs instead")
            return None
    if dataset.input_shape != input_shape:
        export.notice(
            f"{dataset.source} is not the data that {export.run.path} was trained on; checking on random inputs"
        )
        return None
    return dataset


def _write_if_equal(
    export: Export, content: bytes, runners: dict[str, "Runner"], inputs: np.ndarray, kind: str
) -> dict[str, Any]:
    from jaxnn.interop import agreement

    errors = agreement.compare(runners, inputs)
    for pair, error in errors.items():
        if not error <= agreement.TOLERANCE:  # or no number
            raise Ended(
                f"{export.file} is not written: {pair} differ by {error:.1e} of the largest output on {kind}, "
                f"more than {agreement.TOLERANCE}",
                1,
            )
    write_atomically(export.file, content)
    return {"layout": export.layout, "errors": errors, "compared_on": kind}
