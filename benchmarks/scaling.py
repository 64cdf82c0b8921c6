"""``python -m benchmarks.scaling``: a step on 1 to 8 simulated devices, and what that means for real ones."""

import dataclasses
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from matplotlib.figure import Figure

from jaxnn import recipes
from jaxnn.errors import UserError
from jaxnn.mesh_shape import MeshShape
from jaxnn.recipe import Precision, Recipe

from . import flops, machine, projection, scaling_plot, scaling_record, scaling_table, simulated
from .cases import dataset_of
from .projection import Work

_LOSS = (4.0, 4.0)  # bytes that every step waits for: by what the loss is divided, and how many are right
_DRAWN = tuple(2**power for power in range(11))


@dataclass(frozen=True)
class Options:
    """Measure training steps on simulated devices, project them to accelerators, and write both to a folder."""

    recipe: tuple[str, ...] = ("fashion-mlp-512", "resnet18")
    mesh: tuple[str, ...] = ("data=1", "data=2", "data=4", "data=8", "data=4,model=2")
    batch_size: int | None = None
    """Of all devices together; the recipe's own if not given."""
    precision: Precision = "float32"
    batch_norm: Literal["global", "local"] = "global"
    repeats: int = 3
    """Timed steps of each mesh; 0 only compiles."""
    shapes_only: tuple[str, ...] = ("vgg16",)
    """Recipes that are projected, but not measured: they would take too long here."""
    global_batch: int = 8192
    """Of strong scaling; weak scaling has each recipe's own batch on each device."""
    measure: bool = True
    """Otherwise what the folder has is projected again."""
    out: Path = Path("bench")

    def recipes(self) -> list[Recipe]:
        """Raises UserError for a recipe that cannot be measured, and for a batch that a mesh cannot share."""
        changes: dict[str, Any] = {"precision": self.precision, "batch_norm": self.batch_norm}
        if self.batch_size is not None:
            changes["batch_size"] = self.batch_size
        chosen = [recipes.get(name).replace(**changes) for name in self.recipe]
        if self.repeats < 0:
            raise UserError(f"--repeats must be at least 0, but it is {self.repeats}")
        for recipe in chosen:
            if recipe.dataset is None and recipe.input.size is None:
                raise UserError(f"recipe {recipe.name!r} has no data of its own to measure; choose another")
            for mesh in self.mesh:
                MeshShape.parse(mesh).require_divides(recipe.batch_size or 0)
        return chosen


def main(arguments: list[str] | None = None) -> int:
    """0, or 2 for what a user can mend."""
    options = tyro.cli(Options, args=arguments)
    try:
        _run(options)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: Options) -> None:
    chosen, file = options.recipes(), options.out / f"{machine.name()}-scaling.json"
    scaling_record.read(file)
    options.out.mkdir(parents=True, exist_ok=True)
    for recipe in chosen if options.measure else []:
        scaling_record.add(file, _measured(recipe, options))
    content = _projected(scaling_record.read(file), options)
    scaling_record.write(file, content)
    text = scaling_table.text(content)
    file.with_suffix(".md").write_text(text + "\n")
    _draw(content, options).savefig(file.with_suffix(".png"))
    print(text)


def _measured(recipe: Recipe, options: Options) -> list[dict[str, Any]]:
    """Raises UserError if the process that simulates the devices ends early."""
    count = max(MeshShape.parse(mesh).devices for mesh in options.mesh)
    described = machine.describe({"jax": f"cpu, {count} simulated"}) | {"xla_flags": os.environ.get("XLA_FLAGS", "")}
    try:
        with simulated.devices(count) as pool:
            rows = pool.submit(simulated.measure, recipe, options.mesh, repeats=options.repeats).result()
    except BrokenProcessPool:
        raise UserError(
            f"{recipe.name}: the process that simulates the devices was ended, perhaps for its memory; "
            "take fewer meshes or a smaller --batch-size"
        ) from None
    return [row | {"machine": described} for row in rows]


def _projected(content: dict[str, Any], options: Options) -> dict[str, Any]:
    """``content`` with the work of each recipe and what is projected from it."""
    works: dict[str, Work] = {}
    for row in content["rows"]:
        mesh = MeshShape.parse(row["mesh"])
        if mesh.model == 1 and mesh.data == max(_data_sizes(content["rows"], row)) > 1:
            works[scaling_table.title(row["recipe"], row["batch_norm"])] = _work(row)
    for name in options.shapes_only:  # a network without BatchNorm, or its statistics local
        parameters, operations = _shapes(recipes.get(name))
        works[f"{name}, by shapes"] = Work(operations, 4 * parameters, _LOSS)
    batches = {name: recipes.get(name.split(",")[0]).batch_size or 1 for name in works}
    projected = [
        row
        for name, work in works.items()
        for row in projection.rows(name, work, weak_batch=batches[name], strong_batch=options.global_batch)
    ]
    accelerators = [dataclasses.asdict(on) for on in projection.ACCELERATORS]
    model = {"bandwidth_share": projection.BANDWIDTH_SHARE, "start_seconds": projection.START}
    return content | {
        "assumptions": model | {"accelerators": accelerators, "batches": batches, "global_batch": options.global_batch},
        "work": {name: work._asdict() for name, work in works.items()},
        "projection": projected,
    }


def _data_sizes(rows: list[dict[str, Any]], of: dict[str, Any]) -> list[int]:
    """Of the meshes without "model" on which the recipe of a row is measured."""
    alike = [row for row in rows if all(row[name] == of[name] for name in ("recipe", "batch_norm"))]
    meshes = [MeshShape.parse(row["mesh"]) for row in alike]
    return [mesh.data for mesh in meshes if mesh.model == 1]


def _work(row: dict[str, Any]) -> Work:
    """The gradients are the largest of the collectives, which XLA has made of all of them; the step awaits the rest."""
    sizes = [each["bytes"] for each in row["collectives"] for _ in range(each["times"])]
    gradients = max(sizes)
    sizes.remove(gradients)
    return Work(_shapes(recipes.get(row["recipe"]))[1], gradients, tuple(sizes))


def _shapes(recipe: Recipe) -> tuple[int, int]:
    """(parameters, FLOPs of an example)."""
    size, channels = recipe.input.size, recipe.input.channels or 1
    shape = (size, size, channels) if size else dataset_of(recipe).input_shape
    return flops.of_shapes(recipe.replace(batch_size=1), shape, simulated.classes_of(recipe))


def _draw(content: dict[str, Any], options: Options) -> Figure:
    curves = [
        row
        for name, work in content["work"].items()
        for row in projection.rows(
            name,
            Work(**work),
            weak_batch=content["assumptions"]["batches"][name],
            strong_batch=options.global_batch,
            devices=_DRAWN,
        )
    ]
    sizes = sorted(set(content["assumptions"]["batches"].values()))
    words = {
        "weak": f"batch {' or '.join(map(str, sizes))} on each device",
        "strong": f"batch {options.global_batch:,} in all",
    }
    return scaling_plot.figure(curves, scaling_table.assumptions(scaling_plot.SHOWN), batches=words)


if __name__ == "__main__":
    sys.exit(main())
