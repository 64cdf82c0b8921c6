"""CSV and TSV files: what is accepted, and the line and column of every fault."""

import numpy as np
import pytest

from jaxnn.data import load
from jaxnn.errors import UserError

ROWS = [[f"{i}", f"{i / 4}", "yes" if i % 2 else "no"] for i in range(20)]


def text(rows: list[list[str]], delimiter: str = ",") -> str:
    return "".join(delimiter.join(row) + "\n" for row in rows)


HEAD = ["age", "dose", "ill"]
GOOD = {
    "no header": ("a.csv", text(ROWS), {}),
    "header": ("a.csv", text([HEAD, *ROWS]), {}),
    "header by order": ("a.csv", text([["1", "2", "3"], *ROWS]), {"header": "yes"}),
    "semicolons": ("a.csv", text([HEAD, *ROWS], ";"), {}),
    "tabs in a csv": ("a.csv", text(ROWS, "\t"), {}),
    "tsv": ("a.tsv", text([["a,b,c", "d;e", "f"], *ROWS], "\t"), {}),
    "byte order mark, Windows ends": ("a.csv", "\ufeff" + text(ROWS).replace("\n", "\r\n"), {}),
    "quotes, blanks, blank lines": ("a.csv", text([[f' "{c}"'.strip() for c in r] for r in ROWS]) + "\n\n", {}),
    "label by name": ("a.csv", text([HEAD[::-1], *[r[::-1] for r in ROWS]]), {"label": "ill"}),
    "label by number": ("a.csv", text([HEAD[::-1], *[r[::-1] for r in ROWS]]), {"label": "0"}),
    "label by number, no header": ("a.csv", text([r[::-1] for r in ROWS]), {"label": "-3"}),
}


@pytest.mark.parametrize("case", GOOD)
def test_reads_every_form(tmp_path, case):
    name, content, options = GOOD[case]
    (tmp_path / name).write_text(content, newline="")
    dataset = load(str(tmp_path / name), **options)
    assert dataset.classes == ("no", "yes") and dataset.name == "a"
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    assert dataset.train.inputs.dtype == np.float32
    rows = np.concatenate([dataset.train.inputs, dataset.test.inputs])
    first, second = (1, 0) if "label" in options else (0, 1)
    assert sorted(rows[:, first].tolist()) == list(range(20))
    np.testing.assert_array_equal(rows[:, second], rows[:, first] / 4)
    np.testing.assert_array_equal(dataset.train.inputs[:, first] % 2, dataset.train.labels)
    assert (np.diff(dataset.train.inputs[:, first]) > 0).all()  # in the order of the file


@pytest.mark.parametrize(
    ("values", "classes"),
    [("10 9 2", ("2", "9", "10")), ("1.0 0.5 1", ("0.5", "1")), ("b a B", ("B", "a", "b")), ("-1 +1 1", ("-1", "1"))],
)
def test_classes_are_sorted_by_value_or_name(tmp_path, values, classes):
    (tmp_path / "a.csv").write_text(text([["0", value] for value in values.split() * 10]))
    assert load(str(tmp_path / "a.csv")).classes == classes


def changed(line: int, column: int, cell: str, *, head: bool = True) -> str:
    rows = [row.copy() for row in ([HEAD, *ROWS] if head else ROWS)]
    rows[line - 1][column] = cell
    return text(rows)


FAULTS = {
    "text": (changed(5, 1, "high"), {}, "line 5, column 1 ('dose'): 'high' is not a number"),
    "text in line 1": (changed(1, 1, "high", head=False), {}, "line 1 has both numbers and text ('high')"),
    "text, no header": (changed(5, 1, "high", head=False), {}, "line 5, column 1: 'high'"),
    "text, label first": (text([HEAD, *ROWS]), {"label": "age"}, "line 2, column 2 ('ill'): 'no' is"),
    "NaN": (changed(7, 0, "NaN"), {}, "line 7, column 0 ('age'): 'nan' is not a finite float32"),
    "infinite": (changed(7, 1, "-inf"), {}, "line 7, column 1 ('dose'): '-inf' is not a finite"),
    "beyond float32": (changed(7, 1, "1e39"), {}, "line 7, column 1 ('dose'): '1e+39' is not a finite"),
    "infinite, label first": (
        text([["yes", "0", "1"], *[r[::-1] for r in ROWS], ["no", "1", "inf"]]),
        {"label": "0"},
        "line 22, column 2",
    ),
    "missing cell": (changed(9, 0, " "), {}, "line 9, column 0 ('age'): the cell is missing"),
    "missing class": (changed(9, 2, ""), {}, "line 9, column 2 ('ill'): the cell is missing"),
    "class NaN": (changed(9, 2, "nan"), {}, "line 9, column 2 ('ill'): 'nan' is not a finite"),
    "short row": (text([HEAD, *ROWS, ["1", "2"]]), {}, "line 22 has 2 cells where line 1 has 3"),
    "long row": (text([*ROWS, ["1"] * 4]), {}, "line 21 has 4 cells"),
    "after a blank line": ("\n" + text([*ROWS, ["1"] * 4]), {}, "line 22 has 4 cells"),
    "one class": (text([r[:2] + ["yes"] for r in ROWS]), {}, "'yes' is the only class"),
    "no such column": (text([HEAD, *ROWS]), {"label": "ILL"}, "has no column --label 'ILL'"),
    "nearest column": (text([HEAD, *ROWS]), {"label": "does"}, "did you mean 'dose'?"),
    "no such number": (text(ROWS), {"label": "3"}, "has no column --label '3'"),
    "name without header": (text(ROWS), {"label": "ill", "header": "no"}, "give a number below 3"),
    "empty": ("", {}, "is empty"),
    "blank": ("\n\n", {}, "is empty"),
    "header only": (text([HEAD]), {}, "has a header and no rows"),
    "one column": ("a\n1\n2\n", {}, "has one column"),
    "a quantity": (text([r[:2] + [str(i)] for i, r in enumerate(ROWS)]), {}, "20 different values in 20 rows"),
    "a rare class": (changed(9, 2, "maybe"), {}, "class 'maybe' has 1 example(s)"),
    "open quote": (text(ROWS) + '"1,2,yes\n', {}, "line 21: unexpected end of data"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(tmp_path, fault):
    content, options, sentence = FAULTS[fault]
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load(str(path), **options)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(text([["größe", *HEAD[1:]], *ROWS]).encode(encoding))
    with pytest.raises(UserError, match=r"a\.csv is not UTF-8"):
        load(str(tmp_path / "a.csv"))
