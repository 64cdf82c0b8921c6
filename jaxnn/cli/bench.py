"""``jaxnn bench``"""

import importlib
import importlib.util
import json as json_format
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxnn import cores
from jaxnn.cli.arguments import parse
from jaxnn.errors import UserError
from jaxnn.recipe import Precision


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure training and evaluation against PyTorch eager, torch.compile, PyTorch as the documents wrote it and a
    plain flax NNX loop, interleaved, in processes of their own. Exit code 1 if a figure was withheld, because a rival
    does not compute what PyTorch computes."""

    recipe: tuple[str, ...] = ()
    """Only these recipes (default: the set in the README)."""
    batch_size: int | None = None
    """Instead of those of the set."""
    batch_sizes: tuple[int, ...] | None = None
    """Instead of the table, sweep jaxnn and PyTorch eager over these (none given: 1, 2, 4 ... 1024) and draw it."""
    rounds: int = 7
    seconds: float = 0.2
    """Of each measurement."""
    threads: int | None = None
    """Of either framework (default: the cores that there are). jaxnn may choose fewer for small steps."""
    precision: Precision = "float32"
    tf32: bool = False
    """Let both frameworks' float32 products use TF32 on a GPU."""
    rivals: tuple[str, ...] | None = None
    """Of jaxnn, torch (always there), compile, document and flax (default: all)."""
    json: bool = False
    """Print one JSON object as the last line; what goes on meanwhile goes to standard error."""
    out: Path = Path("bench")
    """The folder of NAME.json."""
    name: str | None = None
    """Of the machine (default: its processor and cores)."""
    render: Path | None = None
    """A Markdown file; the table goes between its <!-- benchmarks --> and <!-- /benchmarks -->."""


def run(argv: list[str]) -> int:
    options = parse(Options, argv, prog="jaxnn bench")
    if importlib.util.find_spec("torch") is None:
        raise UserError("a benchmark against PyTorch needs PyTorch, which is not installed: pip install 'jaxnn[torch]'")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file; name a folder")
    benchmarks = _package()
    part: Callable[[str], Any] = lambda name: importlib.import_module(f"{benchmarks}.{name}")  # noqa: E731
    cases, render, runner = part("cases"), part("render"), part("run")
    settings = part("settings").Settings(
        threads=cores.usable() if options.threads is None else options.threads,
        rounds=options.rounds,
        seconds=options.seconds,
        precision=options.precision,
        tf32=options.tf32,
        **({} if options.rivals is None else {"rivals": options.rivals}),
    )
    chosen = cases.choose(options.recipe, options.batch_size)
    sizes = _sizes(options.batch_sizes, cases.BATCH_SIZES)
    file = part("record").path(options.out, options.name or part("machine").name(), settings)
    if options.render is not None:
        render.require_place(options.render)
    part("record").read(file)  # refuses a file of another kind before there is something to lose

    def report(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    if sizes:
        section = runner.sweep(options.recipe or cases.SWEPT, sizes, settings, file, report)
        report(f"figures: {file}, {runner.picture(file)}")
    else:
        section = runner.table(chosen, settings, file, report)
        report(f"figures: {file}")
        if options.render is not None:
            render.into(options.render, render.table(section))
    if options.json:
        print(json_format.dumps(section))
    return 1 if runner.gate_failed(section) else 0


def _sizes(given: tuple[int, ...] | None, default: tuple[int, ...]) -> tuple[int, ...]:
    """The batch sizes to sweep over, () for no sweep."""
    if given is None:
        return ()
    if any(size < 1 for size in given):
        raise UserError(f"--batch-sizes must be at least 1, but one of them is {min(given)}")
    return tuple(sorted(set(given))) or default


def _package() -> str:
    """The name of the package of benchmarks: jaxnn's own where it is installed, the checkout's beside jaxnn."""
    if importlib.util.find_spec("jaxnn.benchmarks") is not None:
        return "jaxnn.benchmarks"
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "cases.py").is_file():
        raise UserError("this installation of jaxnn has no benchmarks; install it anew")
    found = importlib.util.find_spec("benchmarks")
    if found is None or Path(found.origin or "").parent != root / "benchmarks":
        sys.modules.pop("benchmarks", None)
        sys.path.insert(0, str(root))  # before another package of that name
    return "benchmarks"
