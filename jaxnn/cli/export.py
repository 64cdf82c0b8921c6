"""``jaxnn export``"""

import json as json_format
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxnn import checkpoint_choice, files
from jaxnn.cli import backends, export_programs, export_weights
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stderr, stdout
from jaxnn.cli.export_programs import Export
from jaxnn.errors import UserError
from jaxnn.run_dir import RunDir


@dataclass(frozen=True)
class Options:
    """Write the model of a checkpoint of RUN to FILE, once it is seen to compute what the run's does."""

    run: tyro.conf.Positional[Path]
    """A run directory that `jaxnn train` wrote."""
    file: tyro.conf.Positional[Path]
    """The file to write; its ending says the format: .onnx, .stablehlo, or a state_dict: .pt, .pth, .safetensors."""
    checkpoint: str = "newest"
    """newest, best (the highest test accuracy of those kept), or the number of a step."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    """Images in the file's input: channels first, as PyTorch has them, or last."""
    data_dir: Path | None = None
    """Where the data are now, if they have moved since training."""
    overwrite: bool = False
    """Replace FILE."""
    json: bool = False
    """Print one JSON object."""


_FORMATS: dict[str, Callable[[Export], dict[str, Any]]] = {
    ".onnx": export_programs.onnx,
    ".stablehlo": export_programs.stablehlo,
    **dict.fromkeys((".pt", ".pth", ".safetensors"), export_weights.weights),
}


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a run and a file: `jaxnn export RUN model.onnx`")
    options = parse(Options, argv, prog="jaxnn export")
    write = _FORMATS.get(options.file.suffix.lower())
    if write is None:
        raise UserError(f"{options.file}: the ending must be one of {', '.join(_FORMATS)}, which says the format")
    checkpoint = checkpoint_choice.parse(options.checkpoint)
    directory = RunDir(options.run)
    recipe, framework = directory.read_recipe()
    files.require_file(options.file, overwrite=options.overwrite)
    backends.require(framework, recipe)

    def notice(text: str) -> None:
        stderr().print(f"note: {text}")

    began = time.perf_counter()
    result = {"run": str(options.run), "file": str(options.file)}
    result |= write(
        Export(
            run=directory,
            checkpoint=checkpoint,
            recipe=recipe,
            framework=framework,
            file=options.file,
            layout=options.layout,
            data_dir=options.data_dir,
            overwrite=options.overwrite,
            notice=notice,
        )
    )
    result |= {"bytes": options.file.stat().st_size, "seconds": time.perf_counter() - began}
    if options.json:
        print(json_format.dumps(result))
    else:
        _show(result)
    return 0


def _show(result: dict[str, Any]) -> None:
    console = stdout()
    size, seconds = result["bytes"] / 1e6, result["seconds"]
    console.print(f"{result['file']}: {size:,.2f} MB, {seconds:.1f} s", soft_wrap=True)
    if optimizer := result.get("optimizer"):
        console.print(f"{optimizer}: the optimizer after {result['step']} steps", soft_wrap=True)
    if errors := result.get("errors"):
        console.print(f"largest difference on {result['compared_on']}, of the largest output:")
        for pair, error in errors.items():
            console.print(f"  {pair:<24} {error:.1e}")
