"""``jaxnn train``"""

import contextlib
import datetime
import itertools
import json as json_format
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxnn import data, recipes, run_dir
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.cli import backends, event_log, many_runs, signals, watch
from jaxnn.cli.arguments import has, parse, value_of
from jaxnn.cli.backends import Outcome
from jaxnn.cli.console import TrainingDisplay
from jaxnn.cli.devices import DeviceOptions, goes_on
from jaxnn.cli.document_log import DocumentDisplay
from jaxnn.cli.recipe_data import image_size_options, require_name, require_same, with_absolute_paths
from jaxnn.cli.sweep import expand
from jaxnn.data import Dataset
from jaxnn.data.order import batching, total_steps
from jaxnn.errors import Ended, Interrupted, UserError
from jaxnn.recipe import Recipe
from jaxnn.run_dir import Framework, RunDir
from jaxnn.together import Job


@dataclass(frozen=True)
class Options:
    """Train RECIPE. Every field of the recipe is an option; the defaults shown are RECIPE's own."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    out: Path | None = None
    """The run directory to write; None: runs/RECIPE-DATE-TIME."""
    resume: bool = False
    """Continue the run in --out; start it if it does not exist."""
    overwrite: bool = False
    """Replace the run in --out."""
    image_size: int | None = None
    """Resize all images, of any size and shape, to so many pixels each way: --input.size with --input.fit resize."""
    checkpoint_every: str | None = None
    """Steps (500) or seconds (10s) between checkpoints; None: 30s. There is always one at the end."""
    keep_checkpoints: int = CheckpointPolicy.keep
    """How many of the newest checkpoints stay, besides the one with the highest test accuracy."""
    memory_limit: float | None = None
    """GiB above which a data set is streamed batch by batch; None: half of the device's memory."""
    seeds: int | None = None
    """Train with this many seeds, from --seed on, in OUT/seed-S."""
    sweep: str | None = None
    """FIELD=a,b,c: train with each value of a field of the recipe, in OUT/FIELD=value."""
    framework: Framework = "jax"
    """Who trains: JAX, or PyTorch (torchref) as its reference."""
    log_style: Literal["jaxnn", "document"] = "jaxnn"
    """The lines printed: this program's, or those of the recipe's document (of a single run)."""
    devices: Annotated[DeviceOptions, tyro.conf.arg(name="")] = DeviceOptions()
    tensorboard: bool = False
    """Write what is measured for TensorBoard, into RUN/tensorboard of each run."""
    json: bool = False
    """Print one JSON object as the last line of standard output, and all else on standard error."""

    @property
    def memory_limit_bytes(self) -> int | None:
        return None if self.memory_limit is None else int(self.memory_limit * 2**30)

    @property
    def policy(self) -> CheckpointPolicy:
        return CheckpointPolicy.parse(self.checkpoint_every, self.keep_checkpoints)


def run(argv: list[str]) -> int:
    many_runs.require_said(argv)
    options = _read(argv)
    backends.require(options.framework, options.recipe)
    several = options.seeds is not None or options.sweep is not None
    options.devices.require(options.framework, out=options.out is not None, several=several)
    if options.tensorboard:
        event_log.require()
    if options.devices.distributed and not watch.is_watched():
        return watch.watch([["train", *argv]], [{}], resume=goes_on(options.out))
    with options.devices.joined(options.out):
        _train_all(options, explicit_batch_size=_explicit_batch_size(argv))
    return 0


def _train_all(options: Options, *, explicit_batch_size: bool) -> None:
    limit = options.memory_limit_bytes
    with _folder(options) as out:
        jobs = _jobs(options, out, explicit_batch_size=explicit_batch_size)
        groups = backends.groups(options.framework, jobs, limit, mesh=options.devices.shape)
        outcomes: dict[Path, Outcome] = {}
        with signals.noted() as received:
            for group in groups:
                if received:  # when there was nothing left to stop
                    raise Ended(many_runs.interrupted(out), 128 + received[0])
                outcomes |= zip(
                    (job.run.path for job in group), _train(group, options, limit, out, received), strict=True
                )
        results = [outcomes[job.run.path] for job in jobs]
    if len(jobs) > 1:
        many_runs.write(out, jobs, results, sweep=options.sweep)
    if options.json:
        print(json_format.dumps(many_runs.summary(out, jobs, results)))
    elif len(jobs) > 1 and (line := many_runs.line(out, results)):
        print(line)
    many_runs.require_all(jobs, results)


@contextlib.contextmanager
def _folder(options: Options) -> Iterator[Path]:
    """--out, or a new folder that no other command can take; nothing is left of it if nothing comes of it."""
    if options.out is not None:
        yield options.out
        return
    parent = Path("runs")
    made_parent = not parent.exists()
    parent.mkdir(exist_ok=True)
    folder = _new_folder(parent, options.recipe.name)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # not empty: a run, or what is left of one
            folder.rmdir()
            if made_parent:
                parent.rmdir()


def _new_folder(parent: Path, name: str) -> Path:
    folder = first = parent / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    for number in itertools.count(2):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
        folder = first.with_name(f"{first.name}-{number}")
    return folder


def _explicit_batch_size(argv: list[str]) -> bool:
    sweep = value_of("--sweep", argv) or ""
    return any(has(flag, argv) for flag in ("--batch-size", "--batch_size")) or sweep.startswith("batch")


def _read(argv: list[str]) -> Options:
    """The options, with the defaults of the named recipe, or of the run that is resumed."""
    named = argv[0] if argv and not argv[0].startswith("-") else None
    out = value_of("--out", argv)
    resumed = RunDir(Path(out)) if out is not None and has("--resume", argv) else None
    began: dict[str, Any] = {}
    if resumed is not None and resumed.exists():
        recipe, framework = resumed.read_recipe()
        began = {"framework": framework} | _program(resumed, distributed=has("--distributed", argv))
        if named not in (None, recipe.name):
            raise UserError(f"--resume: {out} is a run of recipe {recipe.name!r}, not {named!r}")
    elif named is not None:
        recipe = recipes.get(named, dataset=value_of("--dataset", argv))
    elif has("--help", argv) or has("-h", argv):
        recipe = recipes.get("mnist-mlp")
    elif resumed is not None:
        raise UserError(f"{out} has no recipe.json to go on with; name the recipe to start it: `jaxnn train RECIPE`")
    else:
        raise UserError("name a recipe: `jaxnn train RECIPE`; `jaxnn recipes` lists them")
    default = Options(recipe=recipe, **began)
    prog = f"jaxnn train {named or 'RECIPE'}"
    arguments = argv if named is None else argv[1:]
    options = parse(Options, [*arguments, *image_size_options(argv, recipe)], prog=prog, default=default)
    require_name(options.recipe, recipe.name, "train")
    if options.resume and options.overwrite:
        raise UserError("--resume and --overwrite exclude each other: continue the run, or replace it")
    if options.memory_limit is not None and not 0 <= options.memory_limit < 2**30:
        raise UserError(f"--memory-limit must be a number of GiB, at least 0, but it is {options.memory_limit}")
    options.policy  # noqa: B018  # says what is wrong with it
    if options.log_style == "document" and (options.seeds is not None or options.sweep is not None):
        raise UserError("--log-style document prints the lines of one run; leave out --seeds and --sweep")
    if options.resume and options.out is None:
        raise UserError("--resume needs --out RUN, the run to continue")
    return options


def _program(run: RunDir, *, distributed: bool) -> dict[str, Any]:
    """The options that make the program in which a run began: another one adds in another order."""
    limit, mesh = run.memory_limit(), run.mesh()
    return {
        "memory_limit": None if limit is None else limit / 2**30,
        "devices": DeviceOptions(mesh=None if mesh is None or distributed else str(mesh)),
    }


def _jobs(options: Options, out: Path, *, explicit_batch_size: bool) -> list[Job]:
    """All runs to do, once everything that a user can get wrong has been looked at."""
    jobs = []
    loaded: dict[tuple[object, ...], Dataset] = {}
    for variant in expand(options.recipe, seeds=options.seeds, sweep=options.sweep):
        recipe = with_absolute_paths(variant.recipe)
        run = run_dir.at(out / variant.folder, resume=options.resume, overwrite=options.overwrite)
        if options.resume and run.exists():
            require_same(recipe, options.framework, run)
        seed = recipe.seed if data.depends_on_seed(recipe.dataset) else None
        key = (recipe.dataset, recipe.data_dir, recipe.label, recipe.header, recipe.input, seed)
        if key not in loaded:
            limit = 0 if options.devices.distributed else options.memory_limit_bytes
            loaded[key] = data.load_for(recipe, memory_limit=limit)
        dataset = loaded[key]
        size = len(dataset.train)
        if explicit_batch_size and recipe.batch_size is not None and recipe.batch_size > size:
            raise UserError(f"--batch-size {recipe.batch_size} is larger than the training split of {size} examples")
        jobs.append(Job(recipe, dataset, run))
    return jobs


def _train(
    jobs: list[Job], options: Options, memory_limit: int | None, out: Path, received: list[int]
) -> list[Outcome]:
    recipe, dataset, run = jobs[0]
    batches = batching(len(dataset.train), recipe)
    steps = total_steps(batches, recipe)
    look: dict[str, Any] = {
        "epochs": math.ceil(steps / batches.steps),
        "steps": steps,
        "examples": batches.batch_size * len(jobs),
        "quiet_stdout": options.json,
    }
    title = f"{recipe.name} on {dataset.name} ({dataset.source}): {len(dataset.train):,} examples"
    if len(jobs) > 1:
        title += f", {len(jobs)} runs together"
    display: TrainingDisplay
    if options.log_style == "document":
        display = DocumentDisplay(recipe, dataset, **look)
    else:
        display = TrainingDisplay(title, **look)
    with contextlib.ExitStack() as stack:
        stack.enter_context(display)
        log = None
        if options.tensorboard and options.devices.reports:
            log = stack.enter_context(event_log.EventLog(jobs, resume=options.resume))
        try:
            outcomes = backends.train(
                options.framework,
                jobs,
                display,
                log,
                received,
                resume=options.resume,
                policy=options.policy,
                memory_limit=memory_limit,
                mesh=options.devices.shape,
            )
        except Ended as stop:
            if run.path != out and isinstance(stop.__cause__, Interrupted):
                raise Ended(many_runs.interrupted(out, step=stop.__cause__.step), stop.code) from None
            raise
        if isinstance(display, DocumentDisplay) and isinstance(outcomes[0], dict):
            display.end(backends.evaluate(options.framework, recipe, dataset, run, "test", display.notice))
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, dict) and not isinstance(display, DocumentDisplay):
                display.line(f"test accuracy {outcome['test_accuracy']:.4f}  run {job.run.path}")
    return outcomes
