"""Real commands of both frameworks, disturbed from outside: one sentence, the exit code, the same bits after all."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jaxnn.run_dir import RunDir

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("framework", ["jax", "torch"])]

EPOCHS = 6
TRAIN = ["train", "breast-cancer", "--epochs", str(EPOCHS)]
SLOWLY = ["--checkpoint-every", "1"]


def command(*argv: str | Path) -> list[str]:
    return [sys.executable, "-m", "jaxnn", *map(str, argv)]


def ended(*argv: str | Path, limit: int | None = None) -> tuple[int, str]:
    """Exit code and standard error of a command that may write files of at most ``limit`` bytes."""
    environment = os.environ | ({"JAX_ENABLE_COMPILATION_CACHE": "false"} if limit else {})
    done = subprocess.run(
        command(*argv),
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None,
    )
    return done.returncode, done.stderr


@contextlib.contextmanager
def training(run: Path, framework: str, *options: str, until: Callable[[], Any]) -> Iterator[subprocess.Popen[str]]:
    """A command that trains ``run``, once ``until``."""
    argv = command(*TRAIN, "--framework", framework, *options, "--out", run)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        try:
            deadline = time.monotonic() + 120
            while not until():
                assert time.monotonic() < deadline
                assert child.poll() is None, child.communicate()[1]
                time.sleep(0.002)
            yield child
        finally:
            child.kill()


def some_steps(run: Path) -> Callable[[], bool]:
    """Whether there are two checkpoints."""
    return lambda: len(list(RunDir(run).checkpoints.glob("[s0-9]*"))) > 1


def one_sentence(error: str) -> str:
    assert error.startswith("jaxnn: ") and error.count("\n") == 1, error
    return error


def rows(run: Path) -> list[dict[str, Any]]:
    timed = {"seconds", "examples_per_second"}
    return [{name: row[name] for name in row.keys() - timed} for row in RunDir(run).read_metrics()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, Any]]]:
    """The rows of a run left alone."""
    known: dict[str, list[dict[str, Any]]] = {}

    def of(framework: str) -> list[dict[str, Any]]:
        if framework not in known:
            run = tmp_path_factory.mktemp(framework) / "run"
            assert ended(*TRAIN, "--framework", framework, "--out", run) == (0, "")
            known[framework] = rows(run)
        return known[framework]

    return of


def assert_goes_on(run: Path, expected: list[dict[str, Any]], *argv: str) -> None:
    assert ended("train", *argv, "--resume", "--out", run) == (0, "")
    assert rows(run) == expected and len(expected) == EPOCHS


@pytest.mark.parametrize(
    ("limit", "options", "file", "why"),
    [
        (500, [], "recipe.json", "File too large\n"),
        (1900, [], "metrics.jsonl", "File too large; after that is mended, `jaxnn train --resume --out "),
        (1900, SLOWLY, "checkpoints/", "File too large; after that is mended, `jaxnn train --resume --out "),
    ],
)
def test_a_file_that_cannot_grow(
    limit: int, options: list[str], file: str, why: str, framework: str, alone: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    if framework == "torch" and limit > 500:
        file = "checkpoints/"  # the first of its files that is larger
    code, error = ended(*TRAIN, "--framework", framework, *options, "--out", run, limit=limit)
    assert code == 2
    assert f"{run}/{file}" in one_sentence(error) and f" cannot be written: {why}" in error
    again = [] if RunDir(run).exists() else [*TRAIN[1:], "--framework", framework]
    assert_goes_on(run, alone(framework), *again)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    return filler


def test_the_disk_fills_up(framework: str, small_disk: Path, alone: Any) -> None:
    run = small_disk / "run"
    with training(run, framework, *SLOWLY, until=some_steps(run)) as child:
        fillers = [fill(small_disk)]
        while child.poll() is None:  # what it removes is taken too
            fillers += [fill(small_disk).rename(small_disk / f"filler-{len(fillers)}")]
            time.sleep(0.01)
        error = one_sentence(child.communicate()[1])
    assert child.returncode == 2
    assert "No space left on device; after that is mended, `jaxnn train --resume --out" in error
    code, error = ended("train", "--resume", "--out", run)
    assert code == 2 and "No space left on device" in one_sentence(error)
    for filler in small_disk.glob("filler*"):
        filler.unlink()
    assert_goes_on(run, alone(framework))


def test_a_disk_that_is_full_or_read_only_from_the_start(framework: str, small_disk: Path) -> None:
    out = small_disk / "run"
    filler = fill(small_disk)
    code, error = ended(*TRAIN, "--framework", framework, "--out", out)
    assert code == 2 and "No space left on device" in one_sentence(error)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, error = ended(*TRAIN, "--framework", framework, "--out", out)
    assert code == 2 and "Read-only file system" in one_sentence(error)
    assert list(small_disk.iterdir()) == []


@contextlib.contextmanager
def unchangeable(run: Path) -> Iterator[None]:
    """No file in ``run`` can be made, changed or removed."""
    if os.geteuid() != 0:
        lock, unlock = ["chmod", "-R", "a-w", str(run)], ["chmod", "-R", "u+w", str(run)]
    else:  # whom permissions do not stop
        lock, unlock = ["chattr", "-R", "-f", "+i", str(run)], ["chattr", "-R", "-f", "-i", str(run)]
    subprocess.run(lock, capture_output=True)
    try:
        if os.access(run, os.W_OK) and not _refuses(run):
            pytest.skip("this file system knows no immutable files")
        yield
    finally:
        for _ in range(20):  # a name that vanishes ends the command
            subprocess.run(unlock, capture_output=True)


def _refuses(run: Path) -> bool:
    try:
        (run / "probe").touch()
    except OSError:
        return True
    (run / "probe").unlink()
    return False


def test_the_run_becomes_read_only(framework: str, alone: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with training(run, framework, *SLOWLY, until=some_steps(run)) as child, unchangeable(run):
        error = one_sentence(child.communicate(timeout=60)[1])
        assert child.returncode == 2
        assert " cannot be written: " in error and "`jaxnn train --resume --out" in error
        code, error = ended("train", "--resume", "--out", run)
        assert code == 2 and "cannot be written" in one_sentence(error)
    assert_goes_on(run, alone(framework))


def test_the_run_is_removed(framework: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with training(run, framework, *SLOWLY, until=some_steps(run)) as child:
        run.rename(tmp_path / "gone")
        error = one_sentence(child.communicate(timeout=60)[1])
    assert child.returncode == 2
    assert f"{run} has been removed while it was trained" in error
    assert not run.exists()


def test_a_run_that_another_process_trains(framework: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with RunDir(run).locked():
        code, error = ended(*TRAIN, "--framework", framework, "--out", run)
    assert code == 2 and "another process is training in" in one_sentence(error)


def test_two_processes_on_one_run(framework: str, alone: Any, tmp_path: Path) -> None:
    if framework == "torch":
        pytest.skip("its run ends before a second process has started; the lock is tested above")
    run = tmp_path / "run"
    with training(run, framework, *SLOWLY, until=some_steps(run)) as first:
        for argv in (["train", "--resume"], [*TRAIN, "--framework", framework, "--overwrite"]):
            code, error = ended(*argv, "--out", run)
            assert code == 2 and "another process is training in" in one_sentence(error)
        assert ended("evaluate", run) == (0, "")
        assert first.poll() is None
        first.send_signal(signal.SIGKILL)
    assert_goes_on(run, alone(framework))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_checkpoint_is_written(
    number: signal.Signals, framework: str, alone: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with training(run, framework, *SLOWLY, until=lambda: list(RunDir(run).checkpoints.glob(".*"))) as child:
        child.send_signal(number)
        error = one_sentence(child.communicate(timeout=60)[1])
    assert child.returncode == 128 + number
    assert "interrupted after step" in error and f"`jaxnn train --resume --out {run}` continues there" in error
    assert_goes_on(run, alone(framework))


CUT = {
    "truncated": lambda content: content[:-1],
    "a bit flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "emptied": lambda content: b"",
}


def test_damaged_checkpoints_are_told_and_passed_over(framework: str, alone: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--checkpoint-every", "40", "--keep-checkpoints", "9"]
    assert ended(*TRAIN, "--framework", framework, *options, "--out", run) == (0, "")
    newest_first = sorted(RunDir(run).checkpoints.iterdir(), key=lambda path: -int(path.stem.removeprefix("step-")))
    damaged = dict(zip(CUT, newest_first, strict=False))
    for damage, path in damaged.items():
        files = [file for file in path.rglob("*") if file.is_file()] or [path]
        largest = max(files, key=lambda file: file.stat().st_size)
        largest.write_bytes(CUT[damage](largest.read_bytes()))
    code, error = ended("evaluate", run)
    assert code == 0
    for line, path in zip(error.splitlines(), damaged.values(), strict=True):
        assert f"{path} is damaged" in line and "going back to the one before it" in line
    assert_goes_on(run, alone(framework))


def test_the_checkpoint_that_is_asked_for(framework: str, alone: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert ended(*TRAIN, "--framework", framework, "--out", run) == (0, "")
    best = max(alone(framework), key=lambda row: row["test_accuracy"])
    assert best is not alone(framework)[-1]
    for choice, row in {"best": best, str(best["step"]): best, "newest": alone(framework)[-1]}.items():
        shown = subprocess.run(command("evaluate", run, "--checkpoint", choice), capture_output=True, text=True)
        assert f"mean loss {row['test_loss']:.6f}" in shown.stdout, choice
    code, error = ended("evaluate", run, "--checkpoint", "7")
    assert code == 2 and f"no checkpoint of step 7; it has {best['step']}" in one_sentence(error)
    file = tmp_path / "best.safetensors"
    assert ended("export", run, file, "--checkpoint", "best") == (0, "")
    newest = tmp_path / "newest.safetensors"
    assert ended("export", run, newest) == (0, "") and file.read_bytes() != newest.read_bytes()
