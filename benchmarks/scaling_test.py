"""``python -m benchmarks.scaling`` from a file of figures to tables and picture, and its sentences."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import machine, projection, scaling, scaling_plot, scaling_record, scaling_table

_MACHINE = {"processor": "some", "cores": 2, "devices": {"jax": "cpu, 8 simulated"}, "date": "2026-01-01"}


def _row(mesh: str, **changes: Any) -> dict[str, Any]:
    moved = [
        {"kind": "all-reduce", "times": 3, "group": 8, "bytes": 4, "sent": 7.0, "arrays": "f32[]"},
        {"kind": "all-reduce", "times": 1, "group": 8, "bytes": 2678824, "sent": 4687942.0, "arrays": "f32[669706]"},
    ]
    of_recipe = {"recipe": "fashion-mlp-512", "precision": "float32", "batch_norm": "global", "batch_size": 64}
    figures = {"parameters": 669706, "compile_seconds": 1.25, "flops": 26e6, "step_seconds": 0.0204, "load": 1.0}
    moved = [] if mesh == "data=1" else moved
    sent = sum(each["times"] * each["sent"] for each in moved)
    of_machine = {"machine": _MACHINE | {"jax": "0", "python": "3"}}
    return of_recipe | figures | of_machine | {"mesh": mesh, "sent": sent, "collectives": moved} | changes


def test_from_figures_to_tables_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"{machine.name()}-scaling.json"
    scaling_record.add(file, [_row("data=1"), _row("data=8", step_seconds=9.0)])
    scaling_record.add(file, [_row("data=8"), _row("data=4,model=2", step_seconds=None)])
    arguments = ["--no-measure", "--shapes-only", "lenet", "--out", str(tmp_path), "--global-batch", "4096"]
    assert scaling.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| fashion-mlp-512, 64 | data=8 | 1.2 | 20 | 0.026 | 4 | 4.69 |" in printed
    assert "| data=4,model=2 | 1.2 | - |" in printed
    assert "says nothing of real devices" in printed and "989 TFLOP/s" in printed
    content = json.loads(file.read_text())
    assert [row["mesh"] for row in content["rows"]] == ["data=1", "data=8", "data=4,model=2"]
    work = content["work"]["fashion-mlp-512"]
    assert (work["gradients"], work["awaited"]) == (2678824, [4, 4, 4])  # of data=8
    assert work["flops"] == 2 * (3 * (784 * 512 + 512 * 512 + 512 * 10) - 784 * 512)
    assert content["work"]["lenet, by shapes"]["gradients"] == 4 * 61706
    (row,) = [
        row
        for row in content["projection"]
        if (row["recipe"], row["accelerator"], row["scaling"], row["devices"])
        == ("fashion-mlp-512", "H100 SXM, float32", "strong", 8)
    ]
    expected = projection.step(projection.Work(**work), projection.ACCELERATORS[0], 8, 512, overlap=False)
    assert row["step_seconds"][0] == pytest.approx(expected)
    cells = f"{row['efficiency'][0]:.0%} - {row['efficiency'][1]:.0%}"
    assert cells in file.with_suffix(".md").read_text()
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_the_bounds_of_each_recipe() -> None:
    work = projection.Work(1e9, 1e8, (4.0,))
    curves = list(projection.rows("some", work, weak_batch=32, strong_batch=512))
    drawn = scaling_plot.figure(curves, scaling_table.assumptions(), batches={"weak": "32", "strong": "512"})
    panels = drawn.subfigs[0].axes
    assert len(panels) == 4
    for axes, accelerator, way in zip(panels, [0, 0, 2, 2], ["weak", "strong"] * 2, strict=True):
        name = projection.ACCELERATORS[accelerator].name
        own = [row for row in curves if (row["accelerator"], row["scaling"]) == (name, way)]
        high, low = (np.asarray(line.get_ydata()).tolist() for line in axes.lines)
        assert [[a, b] for a, b in zip(low, high, strict=True)] == [row["efficiency"] for row in own]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe", "resnet19"], "did you mean 'resnet18'?"),
        (["--recipe", "csv"], "no data of its own"),
        (["--mesh", "data=0"], "--mesh takes data=8"),
        (["--mesh", "data=3"], "a batch of 64 cannot be shared by the 3 devices"),
        (["--repeats", "-1"], "--repeats must be at least 0"),
        (["--out", __file__], "File exists"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_bad_input(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path)]
    assert scaling.main([*arguments, *out]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"{machine.name()}-scaling.json"
    file.write_text("{}")
    assert scaling.main(["--out", str(tmp_path)]) == 2
    assert "is not a file of scaling figures" in capsys.readouterr().err
    assert file.read_text() == "{}"
