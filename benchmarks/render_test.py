"""Fixed figures give a fixed table, and the table finds its place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn.errors import UserError

from . import plot, record, render
from .settings import Settings

MACHINE = {
    "processor": "Some CPU", "cores": 2, "devices": {"jax": "cpu", "torch": "cpu"}, "date": "2026-11-24",
    "jax": "0.10", "flax": "0.12", "torch": "2.13", "python": "3.11",
}  # fmt: skip
SETTINGS = {"threads": 2, "precision": "float32", "tf32": False, "rounds": 7, "seconds": 0.2}


def _figures(rate: float, ratio: float, **more: float) -> dict[str, Any]:
    spread = [0.9, 1.0, 1.1]
    return {
        "examples_per_second": [rate * s for s in spread],
        "ratio": [ratio * s for s in spread],
        "compile_seconds": 0.5,
        "host_mib": 400.0,
        **more,
    }


ROWS = [
    {
        "recipe": "lenet",
        "batch_size": 64,
        "name": "lenet, batch 64",
        "rivals": {
            "torch": _figures(12000, 1),
            "jaxnn": _figures(30000, 2.5, share_of_peak=0.25),
            "compile": {"failed": "no C++ compiler"},
            "document": _figures(1000, 0.08),
            "flax": {"withheld": "fc1.bias differs by 2.0e-02, allowed 1.0e-06"},
        },
    },
    {
        "recipe": "lenet",
        "batch_size": 64,
        "name": "lenet, evaluation, batch 64",
        "rivals": {"torch": _figures(12000, 1), "jaxnn": {"withheld": "loss differs by 1.0e+00, allowed 1.0e-05"}},
    },
]
SECTION = {"machine": MACHINE, "settings": SETTINGS, "peaks": {"jax": 124e9, "torch": 186e9}, "rows": ROWS}
TABLE = """\
| recipe, batch | jaxnn | PyTorch eager | torch.compile | document | flax NNX loop | jaxnn / eager | compile s | share of peak | peak MiB |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| lenet, batch 64 | 30,000 | 12,000 | failed (1) | 1,000 | withheld (2) | 2.50 [2.25-2.75] | 0.5 | 25.0% | 400 / 400 |
| lenet, evaluation, batch 64 | withheld (3) | 12,000 | - | - | - | - | - | - | - / 400 |

1. lenet, batch 64, torch.compile: no C++ compiler
2. lenet, batch 64, flax NNX loop: fc1.bias differs by 2.0e-02, allowed 1.0e-06
3. lenet, evaluation, batch 64, jaxnn: loss differs by 1.0e+00, allowed 1.0e-05

2026-11-24, Some CPU, 2 cores, devices jax: cpu, torch: cpu; 2 threads each, float32 without TF32; 7 rounds of 0.2 s; \
jax 0.10, flax 0.12, torch 2.13, Python 3.11. Matrix products, GFLOP/s: jax 124, torch 186."""  # noqa: E501


def test_the_table() -> None:
    assert render.table(SECTION) == TABLE


def test_its_place(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(f"before\n{render.BEGIN}\nold\n{render.END}\nafter \\1\n")
    for _ in range(2):
        render.into(document, "new \\1")
        assert document.read_text() == f"before\n{render.BEGIN}\nnew \\1\n{render.END}\nafter \\1\n"
    document.write_text("no place")
    with pytest.raises(UserError, match="has no <!-- benchmarks -->"):
        render.into(document, "new")


def test_sections_of_a_file_are_replaced_one_by_one(tmp_path: Path) -> None:
    settings = Settings(threads=2)
    file = record.path(tmp_path / "new", "cpu", settings)
    record.write(file, "table", MACHINE, settings, {"rows": ROWS[:1]})
    record.write(file, "batch_sizes", MACHINE, settings, {"rows": []})
    record.write(file, "table", MACHINE, settings, {"rows": ROWS})
    content = record.read(file)
    assert (len(content["table"]["rows"]), content["batch_sizes"]["rows"]) == (2, [])
    file.write_text("{}[")
    with pytest.raises(UserError, match="not a file of benchmark figures"):
        record.read(file)


def test_the_plot_leaves_out_what_was_withheld() -> None:
    rates, ratios = plot.figure(SECTION).axes
    assert [np.asarray(line.get_xdata()).tolist() for line in rates.lines] == [[64], [64, 64]]
    assert np.asarray(ratios.lines[0].get_ydata()).tolist() == [2.5]
