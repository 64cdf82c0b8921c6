"""The loss surface in a real browser: no error, no request; mouse, touch, keys and slider do their part."""

from pathlib import Path

import numpy as np
import pytest

from jaxnn import plots
from jaxnn.page import browser

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="there is no chromium or chrome on this machine")

_SCRIPT = """
const picture = () => canvas.toDataURL();
const pointer = (kind, id, x, y) =>
  canvas.dispatchEvent(new PointerEvent(kind, { pointerId: id, clientX: x, clientY: y }));
const key = (name) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
const first = picture();
found.wide = document.documentElement.scrollWidth > innerWidth;
found.values = new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size;
pointer("pointerdown", 1, 100, 100); pointer("pointermove", 1, 150, 110);
found.dragged = [view.turn - start.turn, view.tilt - start.tilt]; found.redrawn = picture() !== first;
pointer("pointerdown", 2, 250, 110); pointer("pointermove", 2, 350, 110); found.pinched = view.zoom;
pointer("pointerup", 1, 0, 0); pointer("pointerup", 2, 0, 0); pointer("pointermove", 1, 500, 500);
key("Home"); found.home = picture() === first;
key("ArrowRight"); key("ArrowUp"); key("+"); found.keys = [view.turn - start.turn, view.tilt - start.tilt, view.zoom];
key("Home"); slider.value = 1; slider.dispatchEvent(new Event("input"));
found.row = [...rows.get("momentum").cells].slice(1).map((cell) => cell.textContent);
found.shorter = picture() !== first;
"""


def _numbers() -> dict[str, np.ndarray]:
    axis = np.linspace(-10, 10, 21)
    w1, w2 = np.meshgrid(axis, axis)
    path = np.array([[-4.0, 6.0], [-2.5, 3.25], [1.0, 1.0]])
    numbers = {"axis": axis, "surface": w1**2 + w2**2, "minimum": np.zeros(2)}
    for name in ("gd", "momentum", "minibatch"):
        numbers |= {f"{name}_path": path, f"{name}_losses": (path**2).sum(axis=1)}
    return numbers


@pytest.mark.parametrize("width", [1200, 390])
def test_the_surface_turns(width: int, tmp_path: Path) -> None:
    found = browser.run(plots.surface_page(_numbers()), _SCRIPT, tmp_path, width=width)
    assert found["problems"] == []
    assert found["values"] > 50
    assert found["dragged"] == pytest.approx([-0.5, 0.1])
    assert found["redrawn"] and found["home"] and found["shorter"] and not found["wide"]
    assert found["pinched"] == pytest.approx(2)
    assert found["keys"] == pytest.approx([-0.08, -0.08, 1.1])
    assert found["row"] == ["-2.500", "3.250", "16.8125"]
