"""Pages are whole, escaped and small; their drawings hold the numbers."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from jaxnn.parity.report import Diagnosis, Entry, Report, page, sample_reports
from jaxnn.parity.report.page import axis, layers, steps
from jaxnn.parity.report.page.axis import DECADE, Axis

LENET = sample_reports.lenet_flatten_order()
SAMPLES = {
    "fault": LENET,
    "long": sample_reports.long_run(steps=60, fault_at=30),
    "band": sample_reports.null_band(steps=200),
    "deep": sample_reports.deep_network(),
    "empty": Report(title="empty", entries=()),
}
MATRIX = [
    {"fault": "NHWC flatten", "cause": "flatten-order", "model": "LeNet", "detected_by": ["forward", "loss"],
     "located": "input of fc1", "diagnosis": ["flatten-order", "padding"], "correct": True},
    {"fault": "ties", "cause": "pool-ties", "model": "CNN", "detected_by": ["gradients"], "located": "",
     "diagnosis": [], "correct": False},
]  # fmt: skip
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Outline(HTMLParser):
    """The elements of a page; fails where one is closed that is not open."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def documents() -> dict[str, str]:
    pages = {name: page.render(report) for name, report in SAMPLES.items()}
    return pages | {"certificate": page.certificate(list(SAMPLES.values()), title="All", about={}, matrix=MATRIX)}


@pytest.mark.parametrize("name", [*SAMPLES, "certificate"])
def test_a_page_is_well_formed_and_asks_for_nothing(name: str) -> None:
    document = documents()[name]
    outline = Outline(document)
    assert outline.tags.count("script") == 1
    assert not {"link", "img", "iframe", "object"} & set(outline.tags)
    assert all(value.startswith("#") for name, value in outline.attributes if name in ("href", "src"))
    assert not re.search(r"https?:|url\(|@import", document)
    anchors = [value for name, value in outline.attributes if name == "id"]
    assert len(anchors) == len(set(anchors))


def test_names_and_texts_are_harmless() -> None:
    evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
    entry = Entry(level="forward", torch_name=evil, nnx_path=evil, what=evil, error=2.0, tolerance=1.0, note=evil)
    series = dataclasses.replace(entry, level="trajectory", errors=(2.0, 3.0), step=1)
    report = Report(
        title=evil,
        entries=(entry, series),
        diagnoses=(Diagnosis(cause=evil, evidence=evil, fix=evil),),
        layers=({"name": evil, "kind": evil, "path": evil},),
        about={evil: evil, "jax": {evil: evil}},
        notes=(evil,),
    )
    row: dict[str, Any] = dict.fromkeys(("fault", "cause", "model", "located"), evil)
    matrix = [row | {"detected_by": ["forward"], "diagnosis": [evil], "correct": True}]
    for document in (
        page.render(report),
        page.certificate([report], title=evil, about={evil: evil, "torch": {evil: evil}}, matrix=matrix),
    ):
        outline = Outline(document)
        assert outline.tags.count("script") == 1 and "img" not in outline.tags
        assert not [name for name, _ in outline.attributes if name.startswith("on")]
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in document


def test_the_page_says_what_the_report_says() -> None:
    document = page.render(LENET)
    assert "First difference: the input of fc1" in document
    assert "15 of 42 comparisons are beyond tolerance" in document
    for text in (LENET.diagnoses[0].cause, "(5, 5, 16) instead of (16, 5, 5)", "permute the rows of fc1", *LENET.notes):
        assert text.replace("'", "&#39;") in document
    assert document.count("first divergence</em>") == 1
    assert "Both agree" in page.render(SAMPLES["deep"])
    assert "Nothing was compared" in page.render(SAMPLES["empty"])


def test_every_entry_has_a_row() -> None:
    for report in SAMPLES.values():
        body = page.render(report).partition('<table class="all">')[2].partition("</table>")[0]
        assert max(body.count("<tr") - 1, 0) == len(report.entries)


@pytest.mark.parametrize("band", [False, True])
def test_a_thousand_steps_of_thirty_tensors_stay_small(band: bool) -> None:
    report = sample_reports.long_run(tensors=30)
    if band:
        noise = np.random.default_rng(0)
        report = dataclasses.replace(report, entries=tuple(
            dataclasses.replace(entry, tolerances=tuple(1e-12 * (1 + noise.random(1000)))) if entry.errors else entry
            for entry in report.entries
        ))  # fmt: skip
    assert len(page.render(report)) < 500_000


def test_the_layers_of_a_fault() -> None:
    rows = layers.plot(LENET).rows
    status = {row.label: row.status for row in rows}
    assert [row.label for row in rows if row.first] == ["before fc1"]
    assert status == {
        **dict.fromkeys(("conv1", "pool", "conv2", "pool#2"), "ok"),
        "before fc1": "failed",
        **dict.fromkeys(("fc1", "fc2", "fc3"), "inherited"),
    }


def test_modules_are_headings_and_lines_go_through_them() -> None:
    plot = layers.plot(SAMPLES["deep"])
    assert [row.name for row in plot.rows if row.what == "module"][:4] == ["stem", "layer1", "layer1.0", "layer1.1"]
    ends = [row.drawing["alone"].removeprefix("M").split("L") for row in plot.rows if row.drawing["alone"]]
    assert len(ends) == len(plot.rows) - 1  # all but the first heading
    for above, below in zip(ends, ends[1:], strict=False):
        assert above[-1].split() == [below[0].split()[0], "2"]


def test_a_failing_parameter_marks_its_layer() -> None:
    row = next(row for row in layers.plot(SAMPLES["long"]).rows if row.first)
    assert (row.label, row.status) == ("hidden1", "failed")


def test_zero_and_what_is_not_finite_have_places_of_their_own() -> None:
    scale = axis.around([0.0, 3e-16, 1e-12, math.nan, math.inf])
    assert (scale.low, scale.high, scale.zero, scale.unbounded) == (-16, -11, True, True)
    places = [scale.place(value) for value in (0.0, 1e-16, 1e-12, 9e-12, math.nan)]
    assert places == sorted(set(places)) and 0 < places[0] and places[-1] < scale.size
    assert [label for _, label in scale.ticks()] == ["0", "10⁻¹⁶", "10⁻¹⁵", "10⁻¹⁴", "10⁻¹³", "10⁻¹²", "10⁻¹¹", "∞"]


@pytest.mark.parametrize("values", [[], [0.0], [1.0], [math.nan], [5e-324, 1.7e308], [1e-12] * 3])
def test_any_errors_have_an_axis(values: list[float]) -> None:
    scale = axis.around(values)
    assert scale.high > scale.low and all(0 <= scale.place(value) <= scale.size for value in values)
    assert all(0 <= at <= 1 for at, _ in scale.ticks())


def decoded(path: str, scale: Axis) -> dict[int, float]:
    """The errors by step that a path of a step plot holds, as the page's script reads them."""
    numbers = np.array([int(text) for text in re.findall(r"-?\d+", path)]).reshape(-1, 2).cumsum(axis=0)
    return {int(x): 10 ** (scale.high - (y - scale.above) / DECADE) for x, y in numbers}


def test_a_line_keeps_its_peaks_and_the_step_at_which_it_leaves() -> None:
    errors = np.full(1000, 1e-15)
    errors[[3, 501, 777]] = [1e-13, 2e-12, 7e-10]
    entry = Entry(level="trajectory", torch_name="w", nnx_path="w", what="parameter", error=2e-12, tolerance=1e-12,
                  errors=tuple(errors), step=502)  # fmt: skip
    plot = steps.plots(Report(title="", entries=(entry,)))[0]
    line = plot.lines[0]
    found = decoded(line.path, plot.axis)
    assert len(found) < 300
    for step, error in ((1, 1e-15), (4, 1e-13), (502, 2e-12), (778, 7e-10), (1000, 1e-15)):
        assert found[step] == pytest.approx(error, rel=2e-3)
    assert (line.leaves, line.largest, line.largest_at) == (502, 7e-10, 778)
    assert plot.leaving is line


def test_the_worst_line_comes_first_and_too_many_are_said() -> None:
    plot = next(plot for plot in steps.plots(sample_reports.long_run(steps=30, tensors=60, fault_at=10)))
    assert len(plot.lines) == 40 and plot.left_out == 20
    trajectory = steps.plots(SAMPLES["long"])[-1]
    assert trajectory.lines[0].entry.failed and trajectory.leaving is trajectory.lines[0]
    assert not any(line.apart for line in trajectory.lines)
    assert "the worst 40 of 60 tensors" in page.render(sample_reports.long_run(steps=30, tensors=60))


@pytest.mark.parametrize("errors", [(0.0,), (math.nan,), (0.0, 0.0), (math.inf, 1e-3), (1e-16, math.nan, 1e-16)])
def test_short_and_odd_series_are_drawn(errors: tuple[float, ...]) -> None:
    error = next((error for error in errors if not error <= 1e-12), errors[0])
    entry = Entry(level="trajectory", torch_name="w", nnx_path="w", what="parameter", error=error, tolerance=1e-12,
                  errors=errors, step=1)  # fmt: skip
    report = Report(title="odd", entries=(entry,))
    Outline(page.render(report))
    plot = steps.plots(report)[0]
    assert plot.steps == len(errors) and plot.ticks
    assert (plot.leaving is None) == entry.within


@pytest.mark.parametrize(("count", "labels"), [(1, ["1"]), (7, ["1", "2", "4", "6"]), (1000, ["1", "200", "400"])])
def test_steps_are_labelled_roundly(count: int, labels: list[str]) -> None:
    plot = steps.plots(sample_reports.long_run(steps=count))[0]
    assert [label for _, label in plot.ticks][: len(labels)] == labels


def test_a_certificate_shows_each_report_and_the_matrix() -> None:
    document = page.certificate(list(SAMPLES.values()), title="All", about={"jax": {"version": "1"}}, matrix=MATRIX)
    assert "1 of 5 agree" in document
    for number, report in enumerate(SAMPLES.values(), start=1):
        assert f'<a href="#report-{number}">{report.title.replace("&", "&amp;").replace("<", "&lt;")[:5]}' in document
        assert f'id="report-{number}"' in document
    assert "2 of 2 detected, 1 located and named rightly" in document
    assert document.count('aria-label="caught at') == 3
    assert "<b>flatten-order</b>" in document
    assert "Planted faults" not in page.certificate([LENET], title="All", about={})


def test_a_certificate_of_nothing_is_no_success() -> None:
    assert "0 of 0 agree" in page.certificate([], title="All", about={})
    assert json.loads(page.certificate_json([], title="All", about={}))["ok"] is False


def test_a_certificate_as_json_is_complete() -> None:
    reports = [SAMPLES["deep"], SAMPLES["long"]]
    document = json.loads(page.certificate_json(reports, title="All", about={"seed": 0}, matrix=MATRIX))
    assert (document["kind"], document["format"], document["ok"]) == ("jaxnn parity certificate", 1, False)
    assert document["about"] == {"seed": 0} and document["matrix"] == MATRIX
    assert [len(report["entries"]) for report in document["reports"]] == [len(report.entries) for report in reports]
    assert "errors" not in document["reports"][1]["entries"][-1]
    whole = json.loads(page.certificate_json(reports, title="All", about={}, series=True))
    assert whole["reports"][1]["entries"][-1]["errors"] == list(reports[1].entries[-1].errors)
