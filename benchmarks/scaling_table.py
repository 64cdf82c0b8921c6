"""What was measured and what is projected, as Markdown."""

from collections.abc import Iterator
from typing import Any

from .projection import ACCELERATORS, BANDWIDTH_SHARE, START, Accelerator, Link

_NOTE = (
    "All simulated devices share the cores of one machine: their step time says nothing of real devices. What carries "
    "over are FLOPs, bytes and, roughly, compile time."
)


def text(content: dict[str, Any]) -> str:
    """Both tables and the assumptions."""
    parts = [measured(content["rows"]), _NOTE, "", *_conditions(content["rows"]), ""]
    return "\n".join([*parts, projected(content["projection"]), "", assumptions()])


def measured(rows: list[dict[str, Any]]) -> str:
    """One line a mesh; bytes are those that each device sends in a step, by the ring algorithm."""
    heads = ["recipe, batch", "mesh", "compile s", "step ms, simulated", "GFLOP a device", "collectives", "MB sent"]
    lines = [_line(heads), _line(["---", "---", *["---:"] * (len(heads) - 2)])]
    for row in rows:
        count = sum(each["times"] for each in row["collectives"])
        milliseconds = "-" if row["step_seconds"] is None else f"{row['step_seconds'] * 1e3:,.0f}"
        figures = [f"{row['compile_seconds']:.1f}", milliseconds, f"{row['flops'] / 1e9:.3f}"]
        name = f"{title(row['recipe'], row['batch_norm'])}, {row['batch_size']}"
        lines.append(_line([name, row["mesh"], *figures, str(count), f"{row['sent'] / 1e6:.2f}"]))
    return "\n".join(lines)


def projected(rows: list[dict[str, Any]]) -> str:
    """Efficiency against one device, without and with overlap."""
    counts = sorted({row["devices"] for row in rows})
    heads = ["recipe", "accelerator", *(f"{way}, {count:,}" for way in ("weak", "strong") for count in counts)]
    lines = [_line(heads), _line(["---", "---", *["---:"] * (len(heads) - 2)])]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        low, high = (f"{each:.0%}" if each > 0.095 else f"{each:.1%}" for each in row["efficiency"])
        cells.setdefault((row["recipe"], row["accelerator"]), []).append(low if low == high else f"{low} - {high}")
    return "\n".join([*lines, *(_line([*names, *of_row]) for names, of_row in cells.items())])


def assumptions(only: tuple[str, ...] = ()) -> str:
    """All that the projection takes for granted, and where the vendors' figures are from; or without that, of some."""
    if only:
        lines = [_accelerator(on) for on in ACCELERATORS if on.name in only]
    else:
        lines = [f"{_accelerator(on)} Stated in {', '.join(on.sources)}." for on in ACCELERATORS]
    lines.append(
        f"All: {BANDWIDTH_SHARE:.0%} of a link's rate, {START * 1e6:.0f} us to start a collective; rings inside a box, "
        "between boxes the bytes of a ring and the hops of a tree. Data parallel, gradients in float32 added up once a "
        "step, not overlapped or wholly; sums that the step waits for (loss, BatchNorm's statistics) never are."
    )
    return "\n".join(f"- {line}" for line in lines)


def title(recipe: str, batch_norm: str) -> str:
    return recipe if batch_norm == "global" else f"{recipe}, local BatchNorm"


def _accelerator(on: Accelerator) -> str:
    def link(of: Link) -> str:
        return f"{of.bandwidth / 1e9:g} GB/s and {of.latency * 1e6:g} us"

    shape = "ring" if on.axes == 1 else f"{on.axes}D torus"
    return (
        f"{on.name}: {on.share:.0%} of {on.peak / 1e12:g} TFLOP/s; {link(on.inside)} a hop in a {shape} of {on.box}, "
        f"{link(on.between)} beyond."
    )


def _conditions(rows: list[dict[str, Any]]) -> Iterator[str]:
    for machine in {row["machine"]["date"]: row["machine"] for row in rows}.values():
        loads = [row["load"] for row in rows if row["machine"]["date"] == machine["date"]]
        yield (
            f"{machine['date']}, {machine['processor']}, {machine['cores']} cores for all devices, load "
            f"{min(loads):.0f} to {max(loads):.0f}, jax {machine['jax']}, Python {machine['python']}."
        )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
