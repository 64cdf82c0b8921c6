"""``jaxnn import``"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxnn import compilation_cache, recipes, run_dir
from jaxnn.cli import backends
from jaxnn.cli.arguments import has, parse, value_of
from jaxnn.cli.console import stderr, stdout
from jaxnn.cli.recipe_data import with_absolute_paths
from jaxnn.data import Dataset, load_for
from jaxnn.errors import UserError
from jaxnn.interop import weights
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework


@dataclass(frozen=True)
class Options:
    """Make a run of FILE, a state_dict in .pt or .safetensors, for the model of RECIPE."""

    file: tyro.conf.Positional[Path]
    """A state_dict with PyTorch's keys."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    out: Path | None = None
    """The run directory to write."""
    optimizer_state: Path | None = None
    """The optimizer's state_dict, to train on from (default: STEM.optimizer.pt beside FILE, if it is there)."""
    step: int | None = None
    """The steps taken so far, if the optimizer's state does not say."""
    framework: Framework = "jax"
    """Whose run it becomes."""
    overwrite: bool = False
    """Replace the run in --out."""


def run(argv: list[str]) -> int:
    options = _read(argv)
    if options.out is None:
        raise UserError("name the run to write: --out RUN")
    if options.step is not None and options.step < 0:
        raise UserError(f"--step must be at least 0, but it is {options.step}")
    backends.require(options.framework, options.recipe)

    def notice(text: str) -> None:
        stderr().print(f"note: {text}")

    run = run_dir.at(options.out, resume=False, overwrite=options.overwrite)
    recipe = with_absolute_paths(options.recipe)
    arrays = weights.read(options.file, notice)
    state = options.optimizer_state or optimizer_file(options.file)
    training = weights.read_pickled(state) if options.optimizer_state or state.is_file() else None
    named = has("--dataset", argv) or has("--data-dir", argv) or has("--data_dir", argv)
    dataset = _dataset(recipe, notice, required=named)
    compilation_cache.choose()
    from jaxnn.interop import import_run

    given = import_run.Given(arrays, str(options.file), training, str(state), options.step)
    into = import_run.into_torch if options.framework == "torch" else import_run.into_jax
    step = into(given, recipe, dataset, run, notice)
    after = f", after {step} steps, with the optimizer's state of {state}" if training is not None else ""
    stdout().print(f"run {run.path}: {len(arrays)} tensors of {options.file}{after}", soft_wrap=True)
    return 0


def optimizer_file(file: Path) -> Path:
    """Where the state of the training is kept beside a state_dict."""
    return file.with_name(f"{file.stem}.optimizer.pt")


def _read(argv: list[str]) -> Options:
    positional = [argument for argument in argv[:2] if not argument.startswith("-")]
    if len(positional) < 2 and not (has("--help", argv) or has("-h", argv)):
        raise UserError("name a file and a recipe: `jaxnn import FILE RECIPE --out RUN`")
    named = positional[1] if len(positional) == 2 else "mnist-mlp"
    recipe = recipes.get(named, dataset=value_of("--dataset", argv))
    rest = argv if len(positional) < 2 else [argv[0], *argv[2:]]
    default = Options(file=Path(positional[0] if positional else "FILE"), recipe=recipe)
    return parse(Options, rest, prog=f"jaxnn import FILE {named}", default=default)


def _dataset(recipe: Recipe, notice: weights.Notice, *, required: bool) -> Dataset | None:
    """The recipe's data; None, with a note, if they are not here and were not asked for."""
    if recipe.dataset is None and not required:
        notice("without --dataset classes have numbers for names, and the run can be exported but not trained on")
        return None
    try:
        return load_for(recipe)
    except UserError as error:
        if required:
            raise
        notice(f"{error}; classes have numbers for names until the run is trained on")
        return None
