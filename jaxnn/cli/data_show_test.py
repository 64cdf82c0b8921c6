"""``jaxnn data show``: each example under its own class, in windows, files or as text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnn import data, plots
from jaxnn.cli import main, windows
from jaxnn.cli.data_show import in_turn

COLOURS = {"<b>blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of different sizes, in the colour of their class."""
    for name, colour in COLOURS.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (8 + number, 9), colour).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([0, 0, 0, 1, 1], 3, [0, 3, 1]),
        ([1, 0, 1, 0], 4, [1, 0, 3, 2]),
        ([2, 2, 0], 9, [2, 0, 1]),
    ],
    ids=["classes take turns", "order of the file", "fewer than asked for, a class without examples"],
)
def test_classes_take_turns(labels: list[int], count: int, expected: list[int]) -> None:
    assert in_turn(np.array(labels), count).tolist() == expected


def test_pictures_stand_above_their_class(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}

    def images(title: str, pictures: np.ndarray, captions: list[str], **options: int) -> object:
        shown.update(title=title, pictures=pictures, captions=captions, **options)
        return draw(title, pictures, captions, **options)

    draw = plots.images
    monkeypatch.setattr(plots, "images", images)
    command = ["data", "show", str(folder), "--image-size", "12", "--count", "6", "--out", "grid.png"]
    assert main(command) == 0
    assert main(command) == 2 and main([*command, "--overwrite"]) == 0
    assert (shown["title"], shown["columns"]) == ("set\n6 of 12 training examples", 9)
    assert shown["captions"] == [*COLOURS] * 2
    assert [tuple(picture[5, 5]) for picture in shown["pictures"]] == [*COLOURS.values()] * 2
    with Image.open("grid.png") as drawn:
        assert drawn.width > drawn.height > 100


def test_without_out_a_window_and_without_a_display_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []
    monkeypatch.setattr(windows, "show", opened.extend)
    assert main(["data", "show", "digits"]) == 0
    assert capsys.readouterr().out == "no display to open a window on: the images go to a file\nwrote digits.png\n"
    assert Path("digits.png").is_file() and not opened
    monkeypatch.setattr(windows, "missing", lambda: None)
    assert main(["data", "show", "digits"]) == 0
    assert len(opened) == 1 and capsys.readouterr().out == ""


def test_rows_of_a_table_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["[red]a[/b]\x1b[1m"] * 10 + ["b"] * 10
    rows = [f"{number},{number / 2},{name}" for number, name in enumerate(given)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,kind", *rows]))
    assert main(["data", "show", "t.csv", "--count", "3"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    split = data.load("t.csv").train
    first = [split.inputs[split.labels == label] for label in (0, 1)]
    odd = "[red]a[/b]\\x1b[1m"
    assert title == "t (t.csv): 3 of 16 training examples, 2 features"
    assert [line.split() for line in lines if line.strip()][2:] == [
        [name, *(f"{value:.6g}" for value in row)]
        for name, row in ((odd, first[0][0]), ("b", first[1][0]), (odd, first[0][1]))
    ]


def test_check_reads_what_show_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("kind,x\n" + "a,1\nb,2\n" * 10)
    for arguments, inputs in (
        ([str(folder), "--image-size", "12"], "(12, 12, 3)"),
        (["t.csv", "--label", "kind", "--header", "yes"], "(1,)"),
    ):
        assert main(["data", "check", *arguments]) == 0
        assert f"inputs {inputs}, fingerprint " in capsys.readouterr().out
    for arguments, said in (
        ([str(folder)], "or train with --image-size N"),
        (["iris", "--image-size", "12"], "--image-size is for images, but iris is a table"),
        (["t.csv", "--image-size", "0"], "--image-size must be at least 1 pixel"),
    ):
        assert main(["data", "check", *arguments]) == 2
        assert said in capsys.readouterr().err
