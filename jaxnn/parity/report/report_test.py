"""The table says what differs, where and why; files come back equal, and damaged ones are named."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn.errors import UserError
from jaxnn.parity.report import Entry, ParityError, Report, sample_reports, summary

SAMPLES = {
    "fault": sample_reports.lenet_flatten_order(),
    "long": sample_reports.long_run(steps=50, fault_at=30),
    "band": sample_reports.null_band(steps=200),
    "deep": sample_reports.deep_network(),
    "empty": Report(title="", entries=()),
}


def entry(**changes: Any) -> Entry:
    given = {"level": "loss", "torch_name": "loss", "nnx_path": "", "what": "loss", "error": 0.0, "tolerance": 1e-12}
    return Entry(**(given | changes))


def test_the_table_names_what_differs_first_and_why() -> None:
    table = SAMPLES["fault"].table()
    lines = table.splitlines()
    assert lines[0] == "FAILED  LeNet: 15 of 42 comparisons are beyond tolerance"
    first = " ".join(table[table.index("First divergence") :].split("\n\n")[0].split())
    assert first == (
        "First divergence: level forward, input of fc1, NNX path fc1, fed the reference's input: error 1.3, "
        "tolerance 1e-12; so what lies between fc1 and the layer before it differs"
    )
    assert "Likely cause: flatten-order" in lines
    assert any(line.startswith("  evidence  the input of fc1 agrees") for line in lines)
    assert any(line.startswith("  fix       transpose to (batch, channels, height, width)") for line in lines)
    assert "  FAILED  forward          21       4          1.3      1e-12  input of fc1, on its own" in lines
    assert "  FAILED  gradients        10      10         0.77      1e-12  fc2.bias" in lines
    assert "  ... and 3 more" in lines
    assert lines[-1] == "  - train mode only: no layer here behaves otherwise in eval mode"


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [100, 120])
def test_the_table_keeps_its_width(name: str, width: int) -> None:
    assert max(map(len, SAMPLES[name].table(width=width).splitlines())) <= width


def test_a_step_is_named_and_the_worst_is_that_of_all_steps() -> None:
    report = SAMPLES["long"]
    table = report.table()
    first = report.first_divergence
    assert first is not None and first.step is not None
    assert f"step {first.step}: error {first.error:.2g}" in " ".join(table.split())
    worst = next(row.worst for row in summary.levels(report) if row.level == "trajectory")
    assert (worst.step, worst.error) == (50, max(first.errors)) and worst.error > first.error


def test_raise_if_failed() -> None:
    with pytest.raises(ParityError, match="First divergence: level forward, input of fc1"):
        SAMPLES["fault"].raise_if_failed()
    SAMPLES["deep"].raise_if_failed()


def test_a_report_on_nothing_is_no_success() -> None:
    with pytest.raises(ParityError, match="nothing was compared"):
        SAMPLES["empty"].raise_if_failed()


def test_noted_differences_are_said_and_do_not_fail() -> None:
    noted = entry(error=1.0, advisory=True, note="float32 statistics")
    report = Report(title="port", entries=(entry(), noted))
    assert report.ok
    assert "PASSED  port: 1 of 2 comparisons are within tolerance; 1 difference is noted" in report.table()
    assert "  note  loss          2  1 noted            0      1e-12  loss" in report.table().splitlines()


@pytest.mark.parametrize(
    ("error", "tolerance", "text"),
    [
        (1.04e-12, 1e-12, "1.04e-12"),
        (1.00001e-12, 1e-12, "1.00001e-12"),
        (1e-12, 1e-12, "1e-12"),
        (0.0, 0.0, "0"),
        (math.nan, 1e-12, "NaN"),
        (math.inf, 1e-12, "inf"),
        (1.2345, math.inf, "1.2"),
    ],
)
def test_an_error_is_told_apart_from_its_tolerance(error: float, tolerance: float, text: str) -> None:
    assert summary.number(error, apart_from=tolerance) == text


@pytest.mark.parametrize(
    ("error", "tolerance", "severity"),
    [(0.0, 0.0, 0.0), (1.0, 0.0, math.inf), (math.nan, 1.0, math.inf), (math.inf, math.inf, 0.0), (3.0, 2.0, 1.5)],
)
def test_severity(error: float, tolerance: float, severity: float) -> None:
    assert summary.severity(entry(error=error, tolerance=tolerance)) == severity


def test_the_peak_of_a_series_is_where_most_of_its_tolerance_is_used() -> None:
    series = entry(error=1.0, step=1, errors=(1.0, 3.0, 2.0), tolerances=(2.0, 9.0, 2.0), tolerance=2.0)
    assert summary.peak(series) == dataclasses.replace(series, error=2.0, step=3)
    assert math.isnan(summary.peak(entry(errors=(1.0, math.nan, 5.0), tolerance=1.0)).error)
    assert summary.peak(entry(errors=(0.0, 0.0), tolerance=0.0)).within


@pytest.mark.parametrize("name", SAMPLES)
def test_json_comes_back_equal(name: str, tmp_path: Path) -> None:
    SAMPLES[name].save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == SAMPLES[name]


def test_json_is_strict_and_keeps_what_is_not_finite(tmp_path: Path) -> None:
    odd = entry(
        error=math.nan, tolerance=np.float64(1e-12), errors=(math.inf, -math.inf, np.float32(0.5)), step=np.int64(2)
    )
    about = {"options": (1, np.float32(2.0)), "shape": np.arange(2), "rate": math.inf, "at": Path("x")}
    Report(title="odd", entries=(odd,), about=about).save(tmp_path / "r.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads((tmp_path / "r.json").read_text(), parse_constant=refuse)
    assert document["format"] == 1 and document["ok"] is False
    assert document["first_divergence"]["error"] == document["entries"][0]["error"] == "NaN"
    assert document["about"] == {"options": [1, 2.0], "shape": [0, 1], "rate": "Infinity", "at": "x"}
    read = Report.load(tmp_path / "r.json").entries[0]
    assert math.isnan(read.error) and read.failed
    assert (read.tolerance, read.errors, read.step) == (1e-12, (math.inf, -math.inf, 0.5), 2)


def test_an_entry_is_a_line_of_the_file(tmp_path: Path) -> None:
    SAMPLES["long"].save(tmp_path / "r.json")
    lines = (tmp_path / "r.json").read_text().splitlines()
    assert sum('"errors": [' in line for line in lines) == len(SAMPLES["long"].entries)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"[]", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"{}", "is damaged"),
        (b'{"kind": "jaxnn parity certificate", "format": 1}', "is not a parity report"),
        (b'{"kind": "jaxnn parity report", "format": 2}', "has format 2, but this version of jaxnn reads 1"),
        (b'{"kind": "jaxnn parity report", "format": 1, "title": "x"}', "is damaged: entries"),
        (b'{"kind": "jaxnn parity report", "format": 1, "title": "x", "entries": [3]}', r"is damaged: entries\.0"),
    ],
)
def test_a_damaged_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(UserError, match=f"r.json {message}"):
        Report.load(tmp_path / "r.json")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    SAMPLES["fault"].save(tmp_path / "r.json")
    whole = (tmp_path / "r.json").read_bytes()
    (tmp_path / "r.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="r.json is damaged"):
        Report.load(tmp_path / "r.json")


def test_a_field_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    SAMPLES["fault"].save(tmp_path / "r.json")
    content = (tmp_path / "r.json").read_text().replace('"error": 1.31', '"error": "large"')
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(UserError, match=r"r.json is damaged: entries\.22\.error"):
        Report.load(tmp_path / "r.json")


def test_places_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    report = SAMPLES["empty"]
    with pytest.raises(UserError, match=r"as FILE.json or FILE.html, not as .*report.txt"):
        report.save(tmp_path / "report.txt")
    with pytest.raises(UserError, match="there is no folder .*absent"):
        report.save(tmp_path / "absent" / "report.json")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match="folder.html is a folder"):
        report.save(tmp_path / "folder.html")
    with pytest.raises(UserError, match="there is no report .*absent.json"):
        Report.load(tmp_path / "absent.json")


def test_a_suffix_in_capitals_and_a_text_path_will_do(tmp_path: Path) -> None:
    SAMPLES["empty"].save(str(tmp_path / "REPORT.HTML"))
    assert (tmp_path / "REPORT.HTML").read_text().startswith("<!doctype html>")


def test_reports_need_neither_framework() -> None:
    script = (
        "import sys; from jaxnn.parity.report import page, sample_reports as s; page.render(s.long_run(steps=9));"
        "print({'jax', 'flax', 'optax', 'torch'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "set()"
