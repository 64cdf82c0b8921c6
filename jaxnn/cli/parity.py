"""``jaxnn parity``"""

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxnn import compilation_cache
from jaxnn.cli import own_port
from jaxnn.cli.arguments import nearest, parse
from jaxnn.cli.console import stderr, stdout
from jaxnn.errors import UserError
from jaxnn.parity.report import Level, Report, document
from jaxnn.recipes import PRESETS, SMALL

_TRAINING = {"optimizer", "trajectory"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare JAX with PyTorch: a recipe (or all), your own port (--torch, --jax, --batch), or two recordings
    (--left, --right). Exit code 1 if they differ."""

    recipe: tyro.conf.Positional[str | None] = None
    """A recipe of `jaxnn recipes`, or "all" (but torchvision's networks, which take hours)."""
    torch: str | None = None
    """MODULE:NAME of a function that builds the PyTorch model."""
    jax: str | None = None
    """MODULE:NAME of a function that builds the NNX model; it may take an nnx.Rngs."""
    batch: str | None = None
    """MODULE:NAME of (inputs, targets) in NumPy and PyTorch's layout, or of a function that gives them."""
    loss: str = "cross_entropy"
    """A function of torch.nn.functional, or MODULE:NAME of a pair (torch, jax) of functions."""
    optimizer: str | None = None
    """A class of torch.optim, perhaps with options: "sgd(lr=0.1, momentum=0.9)"."""
    jax_optimizer: str | None = None
    """MODULE:NAME of a function that builds the port's optax transformation (default: jaxnn's)."""
    rules: str | None = None
    """MODULE:NAME of the rules that lay the two models beside each other (see jaxnn.parity.Rule)."""
    left: Path | None = None
    """A dump of torchref.capture, the reference."""
    right: Path | None = None
    """A dump of jaxnn.parity.capture."""
    steps: int | None = None
    """Steps of training to compare (default: 1000 for a recipe, 0 or, with --optimizer, 10 for a port)."""
    precision: Literal["float64", "float32"] = "float64"
    eval: bool = False
    """Compare a port in evaluation mode."""
    level: tuple[Level, ...] = ()
    """Only these levels; "accuracy" and "state" are of recipes, and "accuracy", which trains the whole recipe twice,
    is compared only if it is named."""
    dataset: str | None = None
    """The recipe's data (default: embedded data, or with --data-dir the recipe's own set)."""
    data_dir: Path | None = None
    seed: int = 420
    """Of a recipe's weights and batches; of a port's dropout masks."""
    faults: bool = True
    """For "all": also plant faults and show that each is found."""
    out: Path = Path("parity")
    """The folder of the report: report.html and .json, or certificate.html and .json for recipes."""
    json: bool = False
    """Print the report as JSON on standard output."""


def run(argv: list[str]) -> int:
    options = parse(Options, argv, prog="jaxnn parity")
    dumps, port = (options.left, options.right), (options.torch, options.jax, options.batch)
    modes = [options.recipe is not None, any(dumps), any(port)]
    if sum(modes) != 1:
        raise UserError("name a recipe, or --torch, --jax and --batch, or --left and --right; see --help")
    if options.steps is not None and options.steps < 0:
        raise UserError(f"--steps must be at least 0, but it is {options.steps}")
    if options.recipe is None and (of_recipes := {"accuracy", "state"} & set(options.level)):
        level = min(of_recipes)
        raise UserError(f"--level {level} is for recipes, which jaxnn can train and carry over itself; leave it out")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file; name a folder")
    if any(dumps):
        if not all(dumps):
            raise UserError("give both --left and --right")
        from jaxnn.parity.verdict import compare_dumps

        assert options.left is not None and options.right is not None
        return _conclude(compare_dumps(options.left, options.right), options)
    if importlib.util.find_spec("torch") is None:
        raise UserError("a comparison with PyTorch needs PyTorch, which is not installed: pip install 'jaxnn[torch]'")
    compilation_cache.choose()
    if any(port):
        return _conclude(_own(options), options)
    return _recipes(options)


def _own(options: Options) -> Report:
    if options.torch is None or options.jax is None or options.batch is None:
        raise UserError("a port of your own needs all of --torch, --jax and --batch")
    from jaxnn.parity import compare

    named = ":" in options.loss
    optimizer = None if options.optimizer is None else own_port.optimizer(options.optimizer)
    return compare(
        own_port.build(options.torch, "--torch"),
        own_port.build(options.jax, "--jax"),
        own_port.batch(options.batch),
        loss=own_port.load(options.loss, "--loss") if named else options.loss,
        optimizer=optimizer,
        steps=(10 if optimizer else 0) if options.steps is None else options.steps,
        precision=options.precision,
        train=not options.eval,
        rules=None if options.rules is None else own_port.load(options.rules, "--rules"),
        jax_optimizer=None
        if options.jax_optimizer is None
        else own_port.build(options.jax_optimizer, "--jax-optimizer"),
        seed=options.seed,
    )


def _conclude(report: Report, options: Options) -> int:
    report = _filtered(report, options.level)
    options.out.mkdir(parents=True, exist_ok=True)
    for suffix in ("json", "html"):
        report.save(options.out / f"report.{suffix}")
    if options.json:
        print(document.text(document.of_report(report)))
    else:
        stdout().print(report.table(), soft_wrap=True)  # names of a file that may be another's
    stderr().print(f"report: {options.out / 'report.html'}")
    return 0 if report.ok else 1


def _recipes(options: Options) -> int:
    names = list(SMALL) if options.recipe == "all" else [options.recipe or ""]
    if names[0] not in PRESETS:
        raise UserError(f"there is no recipe {names[0]!r}; {nearest(names[0], [*PRESETS, 'all'])}")
    from jaxnn.parity import certificate

    trains = not options.level or _TRAINING & set(options.level)
    found = certificate.compare_all(
        names,
        steps=(1000 if options.steps is None else options.steps) if trains else 0,
        accuracy="accuracy" in options.level,
        state=not options.level or "state" in options.level,
        dataset=options.dataset,
        data_dir=None if options.data_dir is None else str(options.data_dir.resolve()),
        precision=options.precision,
        seed=options.seed,
    )
    reports: list[Report] = []
    written: list[Path] = []
    began = time.monotonic()
    for report in found:
        reports.append(_filtered(report, options.level))
        written = certificate.write(options.out, reports, None)  # of what there is: the next recipe may take minutes
        seconds, began = time.monotonic() - began, time.monotonic()
        stderr().print(f"{'ok    ' if report.ok else 'DIFFER'} {report.title}  {seconds:.0f} s")
    matrix = None
    if options.recipe == "all" and options.faults:
        from jaxnn.parity import faults

        matrix = faults.matrix()
        right = sum(row["correct"] for row in matrix)
        stderr().print(f"{len(matrix)} planted faults, {right} found, located and named")
        written = certificate.write(options.out, reports, matrix)
    if options.json:
        print(written[0].read_text())
    else:
        for report in reports:
            print(report.table(), end="\n\n")
    stderr().print(f"certificate: {written[1]}")
    detected = all(row["detected_by"] for row in matrix or ())
    return 0 if all(report.ok for report in reports) and detected else 1


def _filtered(report: Report, levels: tuple[Level, ...]) -> Report:
    if not levels:
        return report
    from dataclasses import replace

    return replace(report, entries=tuple(entry for entry in report.entries if entry.level in levels))
