"""The command line as users and programs meet it: exit codes, one sentence for each mistake, nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from jaxnn.cli import backends, main, signals, train
from jaxnn.run_dir import RunDir

DIGITS = ["train", "mnist-mlp", "--dataset", "digits"]

MISTAKES = {
    "unknown command": (["tran"], "did you mean 'train'?"),
    "no recipe": (["train"], "`jaxnn recipes` lists them"),
    "unknown recipe": (["train", "mnist-mpl"], "did you mean 'mnist-mlp'?"),
    "unknown field": ([*DIGITS, "--optimizer.learnin-rate", "1"], "did you mean --optimizer.learning-rate?"),
    "batch size 0": ([*DIGITS, "--batch-size", "0"], "batch_size must be at least 1, but it is 0"),
    "batch size of words": ([*DIGITS, "--batch-size", "ten"], "--batch-size cannot be 'ten'"),
    "batch size above the set": ([*DIGITS, "--batch-size", "1438"], "larger than the training split of 1437"),
    "negative learning rate": ([*DIGITS, "--optimizer.learning-rate", "-1"], "optimizer.learning_rate must be"),
    "infinite learning rate": ([*DIGITS, "--optimizer.learning-rate", "inf"], "optimizer.learning_rate must be"),
    "NaN learning rate": ([*DIGITS, "--optimizer.learning-rate", "nan"], "optimizer.learning_rate must be"),
    "option of another optimizer": ([*DIGITS, "--optimizer.momentum", "0.9"], "it belongs to sgd, rmsprop"),
    "unknown optimizer": ([*DIGITS, "--optimizer.name", "adm"], "adagrad"),
    "renaming": ([*DIGITS, "--name", "mine"], "--name cannot be changed"),
    "epochs 0": ([*DIGITS, "--epochs", "0"], "epochs must be at least 1"),
    "unknown data set": (["train", "mnist-mlp", "--dataset", "digts"], "did you mean 'digits'?"),
    "data set not there": (["train", "mnist-mlp", "--data-dir", "nowhere"], "nowhere"),
    "no data set": (["train", "csv"], "--dataset FILE"),
    "table for an image recipe": (["train", "lenet", "--dataset", "iris"], "iris is a table"),
    "images for a table recipe": (["train", "csv", "--dataset", "digits"], "digits holds images"),
    "binary loss, three classes": (["train", "csv", "--dataset", "iris", "--loss.name", "bce"], "is for two classes"),
    "binary loss on a log-softmax": ([*DIGITS, "--loss.name", "bce"], "ends in a log-softmax"),
    "resume and overwrite": ([*DIGITS, "--resume", "--overwrite"], "exclude each other"),
    "batch size with an underscore": ([*DIGITS, "--batch_size", "9999"], "larger than the training split of 1437"),
    "swept batch size above the set": ([*DIGITS, "--sweep", "batch_size=10,9999"], "larger than the training split"),
    "sweep that names a run twice": ([*DIGITS, "--sweep", "seed=1,1"], "twice"),
    "sweep of the name": ([*DIGITS, "--sweep", "name=lenet"], "no field 'name'"),
    "JAX streams in PyTorch": ([*DIGITS, "--framework", "torch", "--rng", "jax"], "--rng jax"),
    "evaluate without a run": (["evaluate"], "name a run"),
    "sweep of nothing": ([*DIGITS, "--sweep", "optimizer.lr"], "FIELD=a,b,c"),
    "sweep of an unknown field": ([*DIGITS, "--sweep", "optimizer.learning=1"], "optimizer.learning_rate"),
    "sweep of a wrong value": ([*DIGITS, "--sweep", "epochs=1,two"], "two"),
    "no seeds": ([*DIGITS, "--seeds", "0"], "--seeds must be at least 1"),
    "one-cycle without momentum": (["train", "mnist-mlp", "--dataset", "digits", "--optimizer.name", "adagrad",
                                    "--schedule.name", "one_cycle"], "momentum"),
    "evaluate nothing": (["evaluate", "nowhere"], "has no recipe.json"),
    "image size of a table": (["train", "csv", "--dataset", "iris", "--image-size", "8"], "takes a table"),
    "image size twice": ([*DIGITS, "--image-size", "8", "--input.size", "9"], "leave one of the two out"),
    "augmented table": (["train", "csv", "--dataset", "iris", "--augment.flip"], "takes a table"),
    "crop of the whole image": ([*DIGITS, "--augment.crop", "28"], "smaller than the images of 28x28"),
    "negative crop": ([*DIGITS, "--augment.crop", "-1"], "augment.crop must be"),
    "unknown data command": (["data", "lst"], "did you mean 'list'?"),
    "check of an unknown set": (["data", "check", "digts"], "digits"),
    "show nothing": (["data", "show"], "name a data set"),
    "show an unknown set": (["data", "show", "digts"], "did you mean 'digits'?"),
    "show a set that is not there": (["data", "show", "mnist", "--data-dir", "nowhere"], "nowhere"),
    "show no example": (["data", "show", "digits", "--count", "0"], "--count must be from 1"),
    "show too many examples": (["data", "show", "digits", "--count", "401"], "--count must be from 1"),
    "show an unknown split": (["data", "show", "digits", "--split", "val"], "invalid choice 'val'"),
    "show in a folder that is not there": (["data", "show", "digits", "--out", "no/d.png"], "there is no folder no"),
    "show in a file of another kind": (["data", "show", "digits", "--out", "d.jpg"], "must end in .png"),
    "picture of a table": (["data", "show", "iris", "--out", "d.png"], "iris is a table"),
    "size of a table": (["data", "show", "iris", "--image-size", "9"], "iris is a table"),
    "image size 0": (["data", "show", "digits", "--image-size", "0"], "--image-size must be at least 1"),
    "class column of images": (["data", "show", "/proc", "--label", "9"], "--label is for CSV and TSV files"),
    "out that is not UTF-8": ([*DIGITS, "--out", "caf\udce9"], "has a name that is not UTF-8; rename it"),
    "control characters in too long a name": (["evaluate", "\x1b[31m" + "a" * 300], "File name too long"),
    "show what is no data set": (["data", "show", "/proc/version"], "is no data set that is known here"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv, expected = MISTAKES[name]
    out = ["--out", "run"] if argv[0] == "train" else []
    assert main([*argv, *out]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("jaxnn: ")
    assert captured.err.count("\n") == 1 and captured.err[:-1].isprintable()
    assert expected in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A finished run of two epochs."""
    assert main([*DIGITS, "--epochs", "2", "--out", str(tmp_path / "run")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("test accuracy 0.")
    assert last.endswith(str(tmp_path / "run"))
    return tmp_path / "run"


def test_names_are_printed_and_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = ("[red]", ":cat:", "\x1b[31mc", "na\u200cme")
    folder, run = tmp_path / "pe\x1b]0;ts", str(tmp_path / "run")
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (28, 28), 60 * number).save(folder / name / f"\x9b{i}.png")
    picture = str(folder / classes[2] / "\x9b0.png")
    commands = {
        ("data", "check", str(folder)): (*classes, str(folder)),
        ("train", "mnist-mlp", "--dataset", str(folder), "--steps", "1", "--out", run): (str(folder),),
        ("evaluate", run): classes,
        ("predict", run, picture, "--top", "4"): (*classes, picture),
    }
    for command, names in commands.items():
        assert main([*command]) == 0
        captured = capsys.readouterr()
        shown = (captured.out + captured.err).replace("\n", "")
        assert not set("\x1b\x9b") & set(shown), command
        for name in names:
            assert name.replace("\x1b", "\\x1b").replace("\x9b", "\\x9b") in shown, (command, name)


def test_train_then_evaluate_then_resume(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = RunDir(run).read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert json.loads((run / "environment.json").read_text())["data"]["name"] == "digits"
    assert main(["evaluate", str(run), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["test_accuracy"] == rows[-1]["test_accuracy"]
    assert evaluated["test_loss"] == rows[-1]["test_loss"]
    assert evaluated["class_accuracy"] == rows[-1]["test_class_accuracy"]
    assert main(["evaluate", str(run)]) == 0
    assert f"accuracy {rows[-1]['test_accuracy']:.4f}" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(run)]) == 0
    assert "finished already" in capsys.readouterr().out
    assert main(["train", "mnist-mlp", "--resume", "--out", str(run), "--epochs", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["epoch"] == 3


@pytest.mark.parametrize(
    ("more", "limit", "mesh"),
    [
        ([], 1000, "data=2"),
        (["--memory-limit", "1", "--mesh", "data=1"], 2**30, "data=1"),
        (["--distributed"], 1000, None),  # of the processes that are there now
    ],
)
def test_a_run_goes_on_in_the_program_it_began_in(
    more: list[str], limit: int, mesh: str | None, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    began = [*DIGITS, "--steps", "2", "--memory-limit", str(1000 / 2**30), "--out", str(out)]
    assert main(began) == 0 and RunDir(out).memory_limit() == 1000
    record = json.loads((out / "environment.json").read_text())
    (out / "environment.json").write_text(json.dumps(record | {"mesh": {"data": 2, "model": 1}, "processes": 1}))
    options = train._read(["--resume", "--out", str(out), *more])
    assert (options.memory_limit_bytes, options.devices.mesh) == (limit, mesh)
    assert train._read([*DIGITS[1:], "--out", str(out), "--overwrite"]).memory_limit is None


def test_a_run_is_not_touched_without_leave(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backends, "_require_installed", lambda framework: None)  # PyTorch, which need not be here
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = [*DIGITS, "--out", str(run)]
    for argv, expected in {
        tuple(again): "--overwrite",
        (*again, "--resume", "--optimizer.learning-rate", "1"): "optimizer.learning_rate is 0.001",
        (*again, "--resume", "--framework", "torch"): "--framework jax",
        ("train", "lenet", "--out", str(run), "--resume"): "'mnist-mlp', not 'lenet'",
        (*again, "--overwrite", "--batch-size", "0"): "batch_size",
        (*again, "--overwrite", "--loss.weight", "1", "2"): "10 classes",
    }.items():
        assert main(list(argv)) == 2
        assert expected in capsys.readouterr().err
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (run / "notes.txt").write_text("mine")
    assert main([*again, "--overwrite", "--epochs", "1"]) == 0
    assert len(RunDir(run).read_metrics()) == 1
    assert (run / "notes.txt").read_text() == "mine"


def test_places_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.jpg").write_text("")
    for out, expected in {"file": "is a file", "folder": "other files", "file/below": "file"}.items():
        assert main([*DIGITS, "--out", str(tmp_path / out)]) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1
    assert main([*DIGITS, "--out", "/proc/run"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("framework", ["jax", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow])])
def test_a_loss_that_is_not_finite_ends_with_1(
    framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*DIGITS, "--optimizer.name", "sgd", "--optimizer.learning-rate", "1e6", "--out", str(tmp_path / "run")]
    assert main([*argv, "--framework", framework]) == 1
    assert "at step 3 of epoch 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("framework", "number", "code"),
    [
        ("jax", signal.SIGINT, 130),
        ("jax", signal.SIGTERM, 143),
        pytest.param("torch", signal.SIGTERM, 143, marks=[pytest.mark.torch, pytest.mark.slow]),
    ],
)
def test_an_interrupted_run_is_resumed_to_the_same_end(
    framework: str, number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is stopped in the middle; its rows are those of a run left alone."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stopped, alone = tmp_path / "stopped", tmp_path / "alone"
    argv = ["train", "breast-cancer", "--framework", framework]
    command = [sys.executable, "-m", "jaxnn", *argv, "--epochs", "5000", "--out", str(stopped)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not RunDir(stopped).read_metrics() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(number)
    _, error = child.communicate(timeout=60)
    assert child.returncode == code, error
    assert "--resume" in error
    done = len(RunDir(stopped).read_metrics())
    assert 0 < done < 5000
    assert main(["train", "--out", str(stopped), "--resume", "--epochs", str(done + 1)]) == 0
    assert main([*argv, "--epochs", str(done + 1), "--out", str(alone)]) == 0
    assert _untimed(stopped) == _untimed(alone)


def _untimed(run: Path) -> list[dict[str, object]]:
    timed = {"seconds", "examples_per_second"}
    return [{name: row[name] for name in row.keys() - timed} for row in RunDir(run).read_metrics()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_third_signal_ends_at_once(number: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(argv: list[str]) -> int:
        with signals.noted():
            for _ in range(3):
                signal.raise_signal(number)
        return 0

    monkeypatch.setattr("jaxnn.cli._dispatch", hang)
    assert main([]) == code


def test_a_new_folder_for_each_run_without_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*DIGITS, "--loss.weight", "1", "2"]) == 2
    assert main([*DIGITS, "--resume"]) == 2
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):  # within a second
        assert main(["train", "tabular-mlp", "--steps", "1"]) == 0
    assert len(list((tmp_path / "runs").glob("tabular-mlp-*/recipe.json"))) == 2


@pytest.mark.parametrize("framework", ["jax", pytest.param("torch", marks=[pytest.mark.torch, pytest.mark.slow])])
def test_a_reader_that_leaves_stops_the_run_with_a_checkpoint(framework: str, tmp_path: Path) -> None:
    argv = ["train", "breast-cancer", "--framework", framework, "--epochs", "5000", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "jaxnn", *argv]
    said = tmp_path / "stderr"  # a file: a pipe that nobody reads would stop a child with much to say
    with said.open("w") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=120) in (141, 143)
    error = said.read_text()
    assert error.startswith("jaxnn: interrupted after step") and error.count("\n") == 1
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_torch_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*DIGITS, "--framework", "torch", "--out", str(tmp_path / "run")]) == 2
    assert "pip install 'jaxnn[torch]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_recipes_are_read_without_jax() -> None:
    code = "import sys, jaxnn.recipes, jaxnn.cli.recipes; print({'jax', 'torch', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_recipes_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    from jaxnn.recipes import PRESETS

    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in PRESETS)
    assert main(["recipes", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == set(PRESETS)
