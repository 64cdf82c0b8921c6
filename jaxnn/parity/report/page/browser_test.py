"""The pages in a real browser: no error, no request, and sorting, filtering and hovering do what they say."""

import re
from pathlib import Path
from typing import Any

import pytest

from jaxnn.page import browser
from jaxnn.parity.report import page, sample_reports

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="there is no chromium or chrome on this machine")

_TABLE = """
const shown = () => [...document.querySelectorAll(".all tbody tr")].filter((row) => !row.hidden);
const column = (at) => shown().map((row) => row.cells[at].textContent.trim());
const click = (at) => document.querySelectorAll(".all thead th button")[at].click();
"""


def _opened(document: str, script: str, folder: Path) -> dict[str, Any]:
    return browser.run(document, _TABLE + script, folder)


def test_the_table_sorts_and_filters(tmp_path: Path) -> None:
    script = """
    click(5); found.largest = column(5).slice(0, 2);
    click(5); found.smallest = column(5)[0];
    click(5); found.restored = column(2)[0];
    click(0); found.failures = column(0).slice(0, 16);
    const form = document.querySelector(".filter");
    form.querySelector("select").value = "gradients"; form.oninput();
    form.querySelector("input").value = "FC1"; form.oninput(); found.filtered = column(2);
    form.querySelector("input").value = ""; form.querySelector("select").value = "";
    form.querySelector("input[type=checkbox]").checked = true; form.oninput();
    found.count = form.querySelector("output").value;
    """
    found = _opened(page.render(sample_reports.lenet_flatten_order()), script, tmp_path)
    assert found["problems"] == []
    assert found["largest"] == ["1.3", "0.77"]
    assert found["smallest"] == "0"
    assert found["restored"] == "conv1.weight"
    assert found["failures"] == ["✗"] * 15 + ["✓"]
    assert found["filtered"] == ["fc1.weight", "fc1.bias"]
    assert found["count"] == "15 of 42"


def test_the_plot_tells_its_values(tmp_path: Path) -> None:
    script = """
    const area = document.querySelectorAll(".area")[1];
    const [tip, exit] = [area.querySelector(".tip"), area.querySelector(".exit")];
    found.before = tip.hidden;
    hover(area, parseFloat(exit.style.left) / 100, 1 - parseFloat(exit.style.bottom) / 100); found.exit = tip.value;
    hover(area, 0.9999, 0.01); found.last = tip.value;
    found.bold = area.querySelector(".line.on").dataset.line;
    hover(area, 0.0001, 0.999); found.zero = tip.value;
    area.dispatchEvent(new PointerEvent("pointerleave")); found.after = tip.hidden;
    """
    report = sample_reports.long_run(fault_at=412)
    tensor = next(entry for entry in report.entries if entry.failed)
    found = _opened(page.render(report), script, tmp_path)
    assert found["problems"] == []
    assert (found["before"], found["after"], found["bold"]) == (True, True, "0")
    assert found["exit"] == f"hidden1.weight\nstep 415: {tensor.error:.1e} (tolerance 1e-12)"
    last = f"{tensor.errors[-1]:.1e}".replace("e-0", "e-")
    assert found["last"] == f"hidden1.weight\nstep 1,000: {last} (tolerance 1e-12)"
    assert re.fullmatch(r"loss\nstep 1: 0 \(tolerance 1e-12\)", found["zero"])


def test_a_link_of_the_overview_unfolds_its_report(tmp_path: Path) -> None:
    reports = [sample_reports.long_run(steps=20), sample_reports.deep_network()]
    script = """
    const parts = [...document.querySelectorAll("details.folded")];
    found.before = parts.map((part) => part.open);
    location.hash = document.querySelectorAll(".overview a")[1].getAttribute("href"); unfold();
    found.after = parts.map((part) => part.open);
    """
    found = _opened(page.certificate(reports, title="Two", about={}), script, tmp_path)
    assert found == {"before": [False, False], "after": [False, True], "problems": []}


def test_an_error_would_show(tmp_path: Path) -> None:
    broken = page.render(sample_reports.deep_network()).replace("</main>", "</main><script>nowhere();</script>")
    assert "nowhere is not defined" in _opened(broken, "", tmp_path)["problems"][0]
