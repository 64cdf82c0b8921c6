"""``jaxnn report``"""

import webbrowser
from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxnn import data, files, report
from jaxnn.cli import backends, report_plots
from jaxnn.cli.arguments import parse
from jaxnn.cli.console import stderr
from jaxnn.errors import UserError
from jaxnn.report import Evidence, Predictions, Run, filters


@dataclass(frozen=True)
class Options:
    """Write what runs did as one HTML page that needs no network; several runs, or frameworks, side by side."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories that `jaxnn train` wrote, or folders of them (--seeds, --sweep). They may be unfinished."""
    out: Path | None = None
    """The file to write; report.html in the first RUN if not given."""
    plots: Path | None = None
    """A folder for the same pictures as PNG files."""
    data_dir: Path | None = None
    """Where the data are now, if they have moved since training."""
    open: bool = False
    """Show the page in the browser."""
    overwrite: bool = False
    """Replace files of an earlier report."""


def run(argv: list[str]) -> int:
    if not argv:
        raise UserError("name a run: `jaxnn report RUN`")
    options = parse(Options, argv, prog="jaxnn report")
    if not options.runs:
        raise UserError("name a run: `jaxnn report RUN`")
    series = report.read(options.runs)
    file = _target(options)
    if options.plots is not None:
        report_plots.require(options.plots, overwrite=options.overwrite)
    evidence = {each.name: _evidence(each.first, options.data_dir) for each in series}
    files.write_atomically(file, report.render(series, evidence).encode(errors="replace"))
    print(f"report {file}")
    if options.plots is not None:
        for path in report_plots.write(options.plots, series, evidence):
            print(f"plot {path}")
    if options.open:
        if webbrowser.open(file.resolve().as_uri()):
            print(f"opened {file} in the browser")
        else:
            stderr().print(f"note: no browser shows {file}; open it yourself")
    return 0


def _target(options: Options) -> Path:
    if options.out is not None:
        if not options.out.parent.is_dir():
            raise UserError(f"--out {options.out} cannot be written: there is no folder {options.out.parent}")
        files.require_file(options.out, overwrite=options.overwrite)
        return options.out
    file = options.runs[0] / "report.html"
    try:
        files.require_file(file, overwrite=options.overwrite)
    except UserError as error:
        raise UserError(str(error) if file.exists() else f"{error}; name another place with --out FILE") from error
    return file


def _evidence(run: Run, data_dir: Path | None) -> Evidence:
    """What the newest checkpoint says; the report of a run that cannot be asked goes without."""
    notes: list[str] = []
    try:
        backends.require(run.framework, run.recipe)
        arrays = backends.weights(run.framework, run.recipe, run.directory, notes.append)
        first = filters.first_layer(arrays, run.directory.trained_on().input_shape)
    except UserError as error:
        return Evidence(_because(error), None, notes=tuple(notes))
    recipe = run.recipe if data_dir is None else run.recipe.replace(data_dir=str(data_dir.resolve()))
    try:
        dataset = data.load_for(recipe)
        if dataset.input_shape != run.directory.trained_on().input_shape or run.classes != dataset.classes:
            raise UserError(f"{dataset.source} is not the data that the run was trained on")
        outputs = backends.outputs(run.framework, run.directory, dataset.test.inputs, notes.append)
    except UserError as error:
        return Evidence(_because(error), first, notes=tuple(notes))
    if not dataset.may_be(run.directory.data_fingerprint()):
        notes.append(f"{dataset.source} has changed since the run began.")
    return Evidence(Predictions.of(outputs, dataset.test.labels), first, dataset.test.inputs, tuple(notes))


def _because(error: UserError) -> str:
    return f"Not shown: {error}."
