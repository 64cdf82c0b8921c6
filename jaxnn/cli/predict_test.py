"""``jaxnn predict``: what evaluation says of the same images, in both frameworks, without the data set."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnn import data
from jaxnn.cli import main
from jaxnn.report import probabilities
from jaxnn.run_dir import RunDir

Runs = dict[str, Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The same few steps in both frameworks."""
    folder = tmp_path_factory.mktemp("runs")
    options = ["--dataset", "digits", "--steps", "150", "--precision", "float64", "--augment.crop", "2", "--json"]
    for framework in ("jax", "torch"):
        where = ["--out", str(folder / framework), "--framework", framework]
        assert main(["train", "mnist-mlp", *options, *where]) == 0
    return {name: folder / name for name in ("jax", "torch")}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The 360 images of the test split as files."""
    folder = tmp_path_factory.mktemp("digits")
    images = data.load("digits").test.inputs[..., 0]
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


def predictions(capsys: pytest.CaptureFixture[str], run: Path, paths: list[Path], *options: str) -> list[dict]:
    capsys.readouterr()
    assert main(["predict", str(run), *map(str, paths), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"]


@pytest.mark.torch
def test_predictions_are_those_of_the_evaluation(
    runs: Runs, digits: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = {name: predictions(capsys, run, digits, "--top", "10") for name, run in runs.items()}
    labels = data.load("digits").test.labels
    for name, run in runs.items():
        correct = [each["top"][0]["class"] == str(label) for each, label in zip(found[name], labels, strict=True)]
        assert np.mean(correct) == RunDir(run).read_metrics()[-1]["test_accuracy"], name
    ours, theirs = ([{t["class"]: t["probability"] for t in each["top"]} for each in found[n]] for n in runs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, abs=1e-9) and sum(mine.values()) == pytest.approx(1)


@pytest.mark.torch
def test_an_inverted_digit_is_told(runs: Runs, digits: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    inverted = digits[0].with_name("inverted.png")
    Image.fromarray(255 - np.asarray(Image.open(digits[0]))).resize((112, 112), Image.Resampling.NEAREST).save(inverted)
    first, second = predictions(capsys, runs["jax"], [digits[0], inverted])
    assert first["top"][0]["class"] == second["top"][0]["class"] and len(first["top"]) == 3
    assert main(["predict", str(runs["jax"]), str(inverted)]) == 0
    shown = capsys.readouterr()
    assert f"{inverted} is dark on light" in shown.err.replace("\n", "") and shown.out.startswith(f"{inverted}: ")


def test_a_run_on_the_user_s_own_pictures_outlives_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Streamed from a tar with augmentation it ends with the bits of the run in memory, and then needs no tar."""
    random = np.random.default_rng(0)
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for colour, name in enumerate(("red", "green", "blue")):
            for number in range(20):
                pixels = random.integers(0, 60, (12, 10, 3)).astype(np.uint8)
                pixels[..., colour] += 150
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "PNG")
                entry = tarfile.TarInfo(f"pets/{name}/{number}.png")
                entry.size = file.tell()
                tar.addfile(entry, io.BytesIO(file.getvalue()))
    command = ["train", "lenet", "--dataset", str(tmp_path / "pets.tar"), "--input.channels", "3", "--image-size", "20"]
    command += ["--augment.crop", "2", "--augment.flip", "--loss.name", "cross_entropy", "--batch-size", "5"]
    command += ["--optimizer.momentum", "0.9", "--epochs", "6", "--dispatch", "step", "--json"]
    for name, limit in {"memory": "1", "streamed": "1e-6"}.items():
        assert main([*command, "--out", str(tmp_path / name), "--memory-limit", limit]) == 0
    memory, streamed = (RunDir(tmp_path / name) for name in ("memory", "streamed"))
    timed = ("seconds", "examples_per_second")
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in r.read_metrics()] for r in (memory, streamed)]
    assert rows[0] == rows[1]
    recipe, _ = memory.read_recipe()
    assert (recipe.input.size, recipe.input.fit) == (20, "resize")
    assert memory.trained_on().classes == ("blue", "green", "red")
    (tmp_path / "pets.tar").unlink()
    Image.new("RGB", (300, 200), (180, 30, 30)).save(tmp_path / "mine.jpg")
    [in_memory], [found] = (predictions(capsys, r.path, [tmp_path / "mine.jpg"]) for r in (memory, streamed))
    assert found == in_memory and found["top"][0]["class"] == "red"


@pytest.mark.torch
def test_photos_of_many_sizes_are_the_same_to_both_frameworks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And to predict, which finds of the test files what the evaluation counts; and to a run that is continued."""
    random = np.random.default_rng(0)
    for part, count in {"train": 15, "test": 8}.items():
        for colour, name in enumerate(("red", "green", "blue")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 60, (*random.integers(10, 90, 2), 3)).astype(np.uint8)
                pixels[..., colour] += random.integers(150).astype(np.uint8)  # some are hard to tell
                exif = Image.Exif()
                exif[0x0112] = 1 + number % 8
                Image.fromarray(pixels).save(folder / f"{number}.jpg", exif=exif)
    command = ["train", "lenet", "--dataset", str(tmp_path / "photos"), "--input.channels", "3", "--image-size", "20"]
    command += ["--loss.name", "cross_entropy", "--optimizer.momentum", "0.9", "--batch-size", "5", "--epochs", "6"]
    runs = {name: RunDir(tmp_path / name) for name in ("jax", "torch")}
    for name, run in runs.items():
        where = ["--precision", "float64", "--framework", name, "--out", str(run.path), "--json"]
        assert main([*command, *where]) == 0
    rows = [
        [run.read_metrics()[-1][key] for key in ("train_loss", "test_loss", "test_accuracy")] for run in runs.values()
    ]
    assert rows[0] == pytest.approx(rows[1], rel=1e-9)
    assert runs["jax"].data_fingerprint() == runs["torch"].data_fingerprint()
    files = sorted((tmp_path / "photos" / "test").glob("*/*.jpg"))
    found = predictions(capsys, runs["jax"].path, files)
    correct = [each["top"][0]["class"] == path.parent.name for each, path in zip(found, files, strict=True)]
    assert 1 / 3 < np.mean(correct) == rows[0][2] < 1
    assert main(["train", "--resume", "--epochs", "7", "--out", str(runs["jax"].path), "--json"]) == 0


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([[1.0, 2.0, 1000.0]], [[0.0, 0.0, 1.0]]),
        (np.log([[0.1, 0.2, 0.7]]), [[0.1, 0.2, 0.7]]),
        ([[0.5], [-800.0]], [[1 - 1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-0.5))], [1.0, 0.0]]),
    ],
    ids=["scores", "log-probabilities", "one output"],
)
def test_outputs_become_probabilities(outputs: object, expected: object) -> None:
    np.testing.assert_allclose(probabilities(np.asarray(outputs)), np.asarray(expected), rtol=1e-12, atol=1e-15)


@pytest.mark.torch
def test_mistakes_are_one_sentence(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "csv", "--dataset", "iris", "--steps", "1", "--out", str(tmp_path / "table"), "--json"])
    (tmp_path / "text.png").write_text("no picture")
    run, some = str(runs["torch"]), str(tmp_path / "text.png")
    mistakes = {
        "`jaxnn predict RUN IMAGE...`": [],
        f"`jaxnn predict {run} IMAGE...`": [run],
        "has no recipe.json": [str(tmp_path / "nowhere"), some],
        f"{some} is a broken image": [run, some],
        "gone.png cannot be read": [run, str(tmp_path / "gone.png")],
        "was trained on a table": [str(tmp_path / "table"), some],
        "--top must be at least 1": [run, some, "--top", "0"],
    }
    capsys.readouterr()
    for says, arguments in mistakes.items():
        assert main(["predict", *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1 and "Traceback" not in error
