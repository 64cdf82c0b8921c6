"""What a report says: the words and the row for each level that the table and the page share."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from jaxnn.parity.report import Entry, Level, Report

LEVELS: tuple[Level, ...] = get_args(Level)

COMPARED: dict[Level, str] = {
    "weights": "weights and buffers as carried over",
    "init": "default initialisation",
    "forward": "what each layer computes",
    "buffers": "buffers after the forward pass",
    "loss": "the loss of the batch",
    "gradients": "gradients of the loss",
    "optimizer": "updates from the reference's gradients",
    "trajectory": "training, step by step",
    "accuracy": "test accuracy after the whole recipe",
    "state": "a training carried over in its middle, and back",
}
"""What each level compares, in a few words."""


@dataclass(frozen=True, kw_only=True)
class LevelSummary:
    """One level of a report; ``worst`` is the entry that needs most of its tolerance."""

    level: Level
    entries: tuple[Entry, ...]
    worst: Entry

    @property
    def compared(self) -> int:
        return len(self.entries)

    @property
    def failed(self) -> int:
        return sum(entry.failed for entry in self.entries)

    @property
    def noted(self) -> int:
        """Differences beyond tolerance that are said and do not fail."""
        return sum(not entry.within for entry in self.entries) - self.failed

    @property
    def beyond(self) -> str:
        """How many are, "" for none: "3", "3, 2 noted"."""
        parts = [f"{self.failed:,}"] * bool(self.failed) + [f"{self.noted:,} noted"] * bool(self.noted)
        return ", ".join(parts)


def levels(report: Report) -> list[LevelSummary]:
    """A summary of each level that was compared, in the order of the levels."""
    rows = []
    for level in LEVELS:
        entries = tuple(entry for entry in report.entries if entry.level == level)
        if entries:
            rows.append(LevelSummary(level=level, entries=entries, worst=max(map(peak, entries), key=rank)))
    return rows


def peak(entry: Entry) -> Entry:
    """``entry`` at the step that needs most of its tolerance, where it has the errors of single steps."""
    if not entry.errors:
        return entry
    errors = np.asarray(entry.errors)
    tolerances = np.asarray(step_tolerances(entry))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.where(errors == 0, 0.0, errors / tolerances)
    worst = int(np.argmax(np.where(np.isnan(shares), np.inf, shares)))
    return dataclasses.replace(entry, error=float(errors[worst]), tolerance=float(tolerances[worst]), step=worst + 1)


def step_tolerances(entry: Entry) -> tuple[float, ...]:
    """One for each step, also where only the entry's single tolerance is known."""
    return entry.tolerances if len(entry.tolerances) == len(entry.errors) else (entry.tolerance,) * len(entry.errors)


def rank(entry: Entry) -> tuple[bool, float]:
    """Orders entries by how much of their tolerance they need; one that is only said comes last."""
    return not entry.advisory, severity(entry)


def severity(entry: Entry) -> float:
    """The error in tolerances: beyond 1 it is too large; infinite for NaN, and for any error where none is allowed."""
    if not entry.within:
        return entry.error / entry.tolerance if entry.tolerance > 0 and math.isfinite(entry.error) else math.inf
    return entry.error / entry.tolerance if 0 < entry.tolerance < math.inf else 0.0


def verdict(report: Report) -> str:
    """One sentence without a full stop: "7 of 128 comparisons are beyond tolerance"."""
    count = len(report.entries)
    failed = sum(entry.failed for entry in report.entries)
    noted = sum(not entry.within for entry in report.entries) - failed
    remark = f"; {noted:,} {'difference is' if noted == 1 else 'differences are'} noted" if noted else ""
    if not count:
        return "nothing was compared"
    if failed:
        verb = "is" if failed == 1 else "are"
        return f"{failed:,} of {count:,} comparison{'s' * (count > 1)} {verb} beyond tolerance{remark}"
    if noted:
        return f"{count - noted:,} of {count:,} comparisons are within tolerance{remark}"
    return "the one comparison is within tolerance" if count == 1 else f"all {count:,} comparisons are within tolerance"


def place(entry: Entry) -> str:
    """What was compared, without what its level says anyway: "input of fc1", "conv1.weight (exp_avg)"."""
    if entry.torch_name == "outputs":
        return "outputs of the model"
    if entry.what in ("input", "output"):
        return f"{entry.what} of {entry.torch_name}"
    implied = {entry.torch_name, "parameter", "buffer", "value", "distribution"}
    implied |= {"gradient"} if entry.level == "gradients" else set()
    if entry.torch_name and entry.what and entry.what not in implied:
        return f"{entry.torch_name} ({entry.what})"
    return entry.torch_name or entry.what


def circumstances(entry: Entry) -> list[str]:
    """Where on the JAX side, at which step and on which input: what a sentence adds to ``place``."""
    parts = [f"NNX path {entry.nnx_path}"] if entry.nnx_path else []
    parts += [f"step {entry.step:,}"] if entry.step is not None else []
    return parts + ([given(entry)] if entry.alone else [])


def given(entry: Entry) -> str:
    """What an entry that is ``alone`` was given."""
    return f"fed the reference's {'gradients' if entry.level == 'optimizer' else 'input'}" if entry.alone else ""


def number(value: float, *, apart_from: float | None = None) -> str:
    """Two significant digits, and as many more as it takes to tell ``value`` from ``apart_from``."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if apart_from is None or value == apart_from:
        return f"{value:.2g}"
    texts = (f"{value:.{digits}g}" for digits in range(2, 18))
    return next((text for text in texts if float(text) != float(number(apart_from))), f"{value:.17g}")


def inline(value: object) -> str:
    """A value of ``about`` in a line; an optimizer as its call, "adam(lr=0.001, eps=1e-08)", less what is off."""
    if isinstance(value, Mapping):
        name = f"{value['name']}" if "name" in value else ""
        set_options = {key: item for key, item in value.items() if key != "name" and (item or not name)}
        options = ", ".join(f"{key}={inline(item)}" for key, item in set_options.items())
        return f"{name}({options})" if name and options else name or options
    if isinstance(value, list | tuple):
        return f"({', '.join(map(inline, value))})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return "none" if value is None else str(value)


def split_about(about: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What was compared (single values and the optimizer), and the environment (groups of values, by group)."""
    compared, environment = {}, {}
    for key, value in about.items():
        label = str(key).replace("_", " ")
        if isinstance(value, Mapping) and "name" not in value and value:
            environment[label] = {str(name).replace("_", " "): inline(item) for name, item in value.items()}
        elif value not in (None, {}, "", ()):
            compared[label] = inline(value)
    return compared, environment
