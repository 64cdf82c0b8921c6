"""A figure as a file."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png(figure: "Figure") -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=150)
    return target.getvalue()
