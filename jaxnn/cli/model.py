"""``jaxnn model``"""

import json as json_format
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxnn import recipes
from jaxnn.cli.arguments import has, parse, value_of
from jaxnn.cli.console import stderr
from jaxnn.cli.evaluate import directory_of
from jaxnn.cli.recipe_data import image_size_options, require_name
from jaxnn.data.blank import stand_in
from jaxnn.errors import UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import TrainedOn

if TYPE_CHECKING:
    from jaxnn.model_summary import Summary, Tensor


@dataclass(frozen=True)
class Options:
    """The network of RECIPE: what PyTorch's print(net) shows, then the output of each layer, and the shape and size of
    each tensor of its state_dict(). Every field of the recipe is an option. The data are not read, but for a --dataset
    of your own files."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    image_size: int | None = None
    """So many pixels each way, for --input.size with --input.fit resize."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class RunOptions:
    """The network of a run: what PyTorch's print(net) shows, its outputs and its tensors. Its data are not needed."""

    run: tyro.conf.Positional[Path]
    """A run directory that `jaxnn train` or `jaxnn import` wrote."""
    json: bool = False
    """Print one JSON object."""


def run(argv: list[str]) -> int:
    named = argv[0] if argv and not argv[0].startswith("-") else None
    if named is not None and named not in recipes.PRESETS and (os.sep in named or Path(named).exists()):
        options = parse(RunOptions, argv, prog="jaxnn model")
        directory = directory_of(options.run)
        recipe, _ = directory.read_recipe()
        data = directory.trained_on()
    else:
        options = _read(named, argv)
        recipe = options.recipe
        blank = stand_in(recipe)
        recipe.loss.require_classes(len(blank.classes))
        if recipe.dataset is None:
            note = "shown for ImageNet's 1,000 classes; name your own data with --dataset FOLDER"
            stderr().print(f"note: recipe {recipe.name} has no data set: {note}")
        data = TrainedOn(blank.name, blank.classes, blank.input_shape, 0, None)
    summary = _summary(recipe, data)
    if options.json:
        print(json_format.dumps(_document(recipe, data.name, summary)))
    else:
        print(_text(recipe, data.name, summary))
    return 0


def _read(named: str | None, argv: list[str]) -> Options:
    if named is None and not (has("--help", argv) or has("-h", argv)):
        raise UserError("name a recipe or a run: `jaxnn model RECIPE`; `jaxnn recipes` lists them")
    recipe = recipes.get(named or "mnist-mlp", dataset=value_of("--dataset", argv))
    rest = argv if named is None else argv[1:]
    arguments = [*rest, *image_size_options(argv, recipe)]
    options = parse(Options, arguments, prog=f"jaxnn model {named or 'RECIPE'}", default=Options(recipe=recipe))
    require_name(options.recipe, recipe.name, "model")
    return options


def _summary(recipe: Recipe, data: TrainedOn) -> "Summary":
    from jaxnn.model_summary import summarize
    from jaxnn.precision import activate
    from jaxnn.trained import Description

    with activate(recipe.precision) as dtypes:
        return summarize(Description(recipe, data.classes, data.input_shape), dtypes.param)


def _document(recipe: Recipe, dataset: str, summary: "Summary") -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "dataset": dataset,
        "precision": recipe.precision,
        "input_shape": summary.input,
        "architecture": summary.printed,
        "layers": [{"name": call.layer, "type": call.kind, "output_shape": call.output} for call in summary.calls],
        "tensors": [
            {
                "name": tensor.name,
                "shape": tensor.shape,
                "values": tensor.values,
                "dtype": tensor.dtype.name,
                "kind": "buffer" if tensor.is_buffer else "parameter",
                "trained": tensor.trained,
            }
            for tensor in summary.tensors
        ],
        "parameters": summary.parameters,
        "trained_parameters": summary.trained,
        "buffers": summary.buffers,
        "bytes": summary.bytes,
    }


def _text(recipe: Recipe, dataset: str, summary: "Summary") -> str:
    return "\n".join([summary.printed, "", *_table(summary), "", *_totals(recipe, dataset, summary)])


def _table(summary: "Summary") -> list[str]:
    """Each layer with its output, in the order of the calls, and below it the tensors that it has."""
    rows = [("layer, tensor", "output, shape", "values", ""), ("input", _batch(summary.input), "", "")]
    waiting = list(summary.tensors)
    for call in summary.calls:
        rows.append((f"{call.layer}: {call.kind}", _batch(call.output), "", ""))
        own = [tensor for tensor in waiting if tensor.name.rpartition(".")[0] == call.layer]
        waiting = [tensor for tensor in waiting if tensor not in own]
        rows += [(f"  {t.name}", str(t.shape), f"{t.values:,}", _remark(t)) for t in own]
    names, shapes, values, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [f"{a:<{names}}  {b:<{shapes}} {c:>{values}} {d}".rstrip() for a, b, c, d in rows]


def _batch(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, ('N', *shape)))})"


def _remark(tensor: "Tensor") -> str:
    return "buffer" if tensor.is_buffer else "" if tensor.trained else "frozen"


def _totals(recipe: Recipe, dataset: str, summary: "Summary") -> list[str]:
    trained = "" if recipe.trained_layer is None else f", {summary.trained:,} of them trained ({recipe.trained_layer})"
    buffers = f", {summary.buffers:,} values in buffers" if summary.buffers else ""
    kind = "float64" if recipe.precision == "float64" else "float32"
    return [
        f"{recipe.name} on {dataset}: {summary.parameters:,} parameters{trained}",
        f"{summary.bytes:,} bytes in {kind}{buffers}",
    ]
