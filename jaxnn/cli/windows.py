"""Figures in windows, where there is a display."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def missing() -> str | None:
    """Why matplotlib can open no window; None if it can."""
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.backends.registry import BackendFilter, backend_registry

    try:
        pyplot.figure()
        pyplot.close()
    except Exception as error:  # of whatever toolkit
        return f"no display to open a window on ({error})"
    windowed = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    if matplotlib.get_backend().lower() not in map(str.lower, windowed):
        return "no display to open a window on"
    return None


def show(figures: Iterable["Figure"]) -> None:
    """Returns when the user has closed all windows."""
    from matplotlib import pyplot

    for figure in figures:
        size = figure.get_size_inches()
        manager: Any = pyplot.figure(figsize=(size[0], size[1]), dpi=figure.dpi)  # a window of the toolkit there is
        canvas = manager.canvas
        canvas.figure = figure
        figure.set_canvas(canvas)
    pyplot.show()
