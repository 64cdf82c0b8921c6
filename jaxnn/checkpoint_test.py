"""Checkpoints alone, of small arrays: which stay, and what damage is found."""

import errno
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxnn import checkpoint
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.checkpoint_choice import Choice
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.errors import UserError


def saved(step: int, test_accuracy: float | None = None) -> Saved:
    state = {"kernel": np.arange(600.0).reshape(20, 30) + step, "step": np.int32(step)}
    return Saved(step, state, {"loss": np.full(7, step, np.float32)}, {"epoch": step}, test_accuracy)


def filled(folder: Path, *of: Saved, keep: int = 2) -> Path:
    with Checkpoints(folder, keep=keep) as checkpoints:
        for each in of:
            checkpoints.save(each)
    return folder


def files(step: Path) -> list[Path]:
    return sorted(file for file in step.rglob("*") if file.is_file())


def test_what_is_saved_comes_back_though_the_caller_went_on(tmp_path: Path) -> None:
    given = saved(3, 0.5)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(given)
        given.state["kernel"][:] = np.nan  # the next step, while the writer is at work
        got = checkpoints.restore(3, given.state, given.record)
    np.testing.assert_array_equal(got.state["kernel"], saved(3).state["kernel"])
    np.testing.assert_array_equal(got.record["loss"], saved(3).record["loss"])
    assert (got.position, got.test_accuracy) == ({"epoch": 3}, 0.5)


@pytest.mark.parametrize(
    ("keep", "accuracies", "kept", "best"),
    [
        (2, [None] * 4, [3, 4], None),
        (2, [0.1, 0.9, 0.2, 0.3, 0.9], [2, 4, 5], 2),
        (1, [0.1, 0.2, 0.3], [2, 3], 3),
        (1, [0.3, None, 0.2], [1, 3], 1),
        (3, [0.5, 0.1, 0.1, 0.1, 0.1], [1, 3, 4, 5], 1),
    ],
)
def test_the_newest_and_the_best_are_kept(
    keep: int, accuracies: list[float | None], kept: list[int], best: int | None, tmp_path: Path
) -> None:
    filled(tmp_path, *itertools.starmap(saved, enumerate(accuracies, start=1)), keep=keep)
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.steps, checkpoints.best) == (kept, best)


def _largest(step: Path) -> Path:
    return max(files(step), key=lambda file: file.stat().st_size)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a bit flipped": lambda step: _flip(_largest(step)),
    "a bit flipped in the smallest file": lambda step: _flip(min(files(step), key=lambda f: (f.stat().st_size, f))),
    "truncated": lambda step: _largest(step).write_bytes(_largest(step).read_bytes()[:-1]),
    "emptied": lambda step: _largest(step).write_bytes(b""),
    "a file lost": lambda step: _largest(step).unlink(),
    "a file too many": lambda step: (step / "state" / "more").write_bytes(b"x"),
    "no checksums": lambda step: (step / "checkpoint.json").unlink(),
    "damaged checksums": lambda step: (step / "checkpoint.json").write_text("[1"),
    "checksums of another kind": lambda step: (step / "checkpoint.json").write_text("[1]"),
    "an empty folder": lambda step: [shutil.rmtree(step), step.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_the_one_before_is_used(damage: str, tmp_path: Path) -> None:
    filled(tmp_path, saved(1, 0.1), saved(2, 0.2))
    DAMAGE[damage](tmp_path / "2")
    notices: list[str] = []
    with Checkpoints(tmp_path) as checkpoints:
        got = checkpoints.newest(notices.append, saved(2).state, saved(2).record)
        assert got is not None and got.step == 1
        assert len(notices) == 1 and "2 is damaged" in notices[0] and "going back" in notices[0]
        DAMAGE[damage](tmp_path / "1")
        with pytest.raises(UserError, match="no checkpoint in .* can be read; train anew with --overwrite"):
            checkpoints.newest(notices.append, None)


def test_what_was_cut_off_while_it_was_written_is_no_checkpoint(tmp_path: Path) -> None:
    filled(tmp_path, saved(1), saved(2))
    (tmp_path / "2").rename(tmp_path / ".2")
    (tmp_path / ".3.orbax-checkpoint-tmp-1").mkdir()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [1]
        checkpoints.save(saved(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_another_model_is_not_damage(tmp_path: Path) -> None:
    filled(tmp_path, saved(1))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="is of another model"):
        checkpoints.restore(1, {"kernel": np.zeros((2, 2)), "other": np.zeros(3)})


def test_a_write_that_fails_is_said_and_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, saved(1))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(UserError, match="2 cannot be written: No space left"), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(saved(2))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("every", "due"),
    [
        (None, [(1, 29.0, False), (1, 30.0, True)]),
        ("10s", [(5, 9.9, False), (5, 10.0, True)]),
        ("0s", [(1, 0.0, True)]),
        ("4", [(3, 1e9, False), (4, 0.0, True), (8, 0.0, True), (9, 0.0, False)]),
    ],
)
def test_when_a_checkpoint_is_due(every: str | None, due: list[tuple[int, float, bool]]) -> None:
    policy = CheckpointPolicy.parse(every, 2)
    assert [policy.due(step, seconds=seconds) for step, seconds, _ in due] == [wanted for *_, wanted in due]


@pytest.mark.parametrize("every", ["0", "-3", "1.5", "s", "-1s", "nans", "infs", "5m", ""])
def test_bad_intervals_are_refused(every: str) -> None:
    with pytest.raises(UserError, match="--checkpoint-every takes steps"):
        CheckpointPolicy.parse(every, 2)


@pytest.mark.parametrize("choice", ["newest", "best"])
def test_a_reader_beside_a_writer_finds_no_damage(choice: Choice, tmp_path: Path) -> None:
    filled(tmp_path, saved(1, 0.01))
    found: list[int] = []

    def told(text: str) -> None:
        raise AssertionError(text)

    with Checkpoints(tmp_path, keep=1) as writer, Checkpoints(tmp_path) as reader:
        verify = checkpoint._verified

        def verify_late(path: Path) -> Any:  # the writer goes on between the listing and the reading
            newest = writer.steps[-1]
            if newest == 2 * len(found) + 1:
                for step in (newest + 1, newest + 2):
                    writer.save(saved(step, 0.01 * step))
                writer.wait()
            return verify(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "_verified", verify_late)
            for _ in range(5):
                got = reader.find(choice, told, saved(1).state)
                assert got is not None
                found.append(got.step)
    assert found == [3, 5, 7, 9, 11]


@pytest.mark.parametrize(
    ("accuracies", "choice", "found"),
    [
        ([0.1, 0.9, 0.2, 0.3], "newest", 4),
        ([0.1, 0.9, 0.2, 0.3], "best", 2),
        ([0.1, 0.9, 0.2, 0.3], 3, 3),
        ([0.1, 0.9, 0.2, 0.3], 1, "has no checkpoint of step 1; it has 2, 3, 4"),
        ([None, None], "best", "was evaluated; name a step: 1, 2"),
        ([], "best", None),
        ([], 7, None),
    ],
)
def test_the_one_that_is_asked_for(
    accuracies: list[float | None], choice: Choice, found: int | str | None, tmp_path: Path
) -> None:
    filled(tmp_path, *itertools.starmap(saved, enumerate(accuracies, start=1)))
    with Checkpoints(tmp_path) as checkpoints:
        if isinstance(found, str):
            with pytest.raises(UserError, match=found):
                checkpoints.find(choice, print, None)
        else:
            got = checkpoints.find(choice, print, None)
            assert (got and got.step) == found
