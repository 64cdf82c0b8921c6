"""The pictures of a report as PNG files."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnn import plots
from jaxnn.errors import UserError
from jaxnn.files import write_atomically
from jaxnn.report import Evidence, Series, classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MISTAKES = 24


def require(folder: Path, *, overwrite: bool) -> None:
    """Makes ``folder``. Raises UserError if it cannot be written, or holds pictures that may not be replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--plots {folder} cannot be written: {error.strerror}") from error
    if not overwrite and any(folder.glob("*.png")):
        raise UserError(
            f"--plots {folder} holds pictures already; add --overwrite to replace them, or name another folder"
        )


def write(folder: Path, series: Sequence[Series], evidence: Mapping[str, Evidence]) -> list[Path]:
    """Returns the files: curves.png and learning-rate.png, and of each series confusion, mistakes and first-layer."""
    several = len(series) > 1
    written = []
    for name, figure in _figures(series, evidence, several=several):
        path = folder / f"{name}.png"
        write_atomically(path, plots.png(figure))
        written.append(path)
    return written


def _figures(
    series: Sequence[Series], evidence: Mapping[str, Evidence], *, several: bool
) -> Iterator[tuple[str, "Figure"]]:
    curves = [plots.Curve(each.name, run.rows) for each in series for run in each.runs]
    if any(curve.rows for curve in curves):
        yield "curves", plots.loss_and_accuracy(curves)
        yield "learning-rate", plots.learning_rate(curves)
    for each in series:
        found, ending = evidence[each.name], f"-{each.name.replace('/', '-')}" if several else ""
        if not isinstance(found.predictions, str):
            predictions = found.predictions
            names = classes.names(each.first, predictions.probabilities.shape[1])
            title = f"{each.name}: accuracy {predictions.accuracy:.4f}"
            yield f"confusion{ending}", plots.confusion(title, predictions.confusion, names)
            wrong = predictions.mistakes(_MISTAKES)
            if len(wrong) and found.inputs is not None and found.inputs.ndim == 4:
                parts = (predictions.predicted[wrong], predictions.confidence[wrong], predictions.labels[wrong])
                captions = [
                    f"{names[guess]} {sure:.3f}\nis {names[label]}" for guess, sure, label in zip(*parts, strict=True)
                ]
                yield f"mistakes{ending}", plots.images(f"{each.name}: predicted, true", found.inputs[wrong], captions)
        if found.filters is not None and not isinstance(found.filters, str):
            yield f"first-layer{ending}", plots.filters(f"{each.name}: {found.filters.key}", found.filters.pictures)
