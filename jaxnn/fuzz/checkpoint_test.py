"""A run's checkpoint, given anything: what a forger writes has the right checksums."""

import gc
import json
import logging
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tensorstore
from hypothesis import strategies as st

from jaxnn import checkpoint, data, environment, experiment, precision, recipes, trained
from jaxnn.checkpoint import Checkpoints, Saved
from jaxnn.errors import UserError
from jaxnn.fuzz.damage import any_json, changed, damaged
from jaxnn.fuzz.guard import Reader, guarded, property_of
from jaxnn.interop import export_run
from jaxnn.lane import Lane
from jaxnn.run_dir import RunDir

RECIPE = recipes.get("breast-cancer").replace(**{"schedule.name": "plateau"})
DATA = data.prepare(data.load("breast-cancer"), RECIPE.input)
DTYPES = precision.DTYPES["float32"]
MEMBER = experiment.member(RECIPE, DATA, DTYPES)
FACTS, POSITION, STEP = "checkpoint.json", "position/metadata", 3
ROW = {"epoch": 1, "step": 1, "test_accuracy": 0.5}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _forge(folder: Path) -> None:
    facts = {"test_accuracy": 0.5, "sha256": checkpoint._checksums(folder)}
    (folder / FACTS).write_text(json.dumps(facts))


def _run(folder: Path) -> RunDir:
    run = RunDir(folder)
    run.create(RECIPE, "jax")
    run.write_environment(environment.describe(DATA))
    run.write_metrics([ROW])
    return run


@cache
def _valid() -> dict[str, bytes]:
    """The files of a run with one checkpoint, after three steps."""
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder))
        with Checkpoints(run.checkpoints) as checkpoints:
            lane = Lane(MEMBER, run, checkpoints, DTYPES)
            lane.position.done, lane.position.seconds = STEP, 0.5
            lane.save(lane.state)
        return _files(run.checkpoints / str(STEP))


def _of_another(state: Any) -> dict[str, bytes]:
    position = json.loads(_valid()[POSITION])
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(Path(folder)) as checkpoints:
            checkpoints.save(Saved(STEP, state, {"loss": np.zeros(2), "correct": np.zeros(2)}, position))
        return _files(Path(folder, str(STEP)))


@cache
def _others() -> list[dict[str, bytes]]:
    """Checkpoints as this library writes them, of other arrays."""
    state = tuple(Lane(MEMBER, RunDir(Path("none")), Checkpoints(Path("none")), DTYPES).state)
    kinds = (np.complex64, np.bool_, np.float16, np.int64)
    others = [jax.tree.map(lambda leaf, kind=kind: np.zeros(leaf.shape, kind), state) for kind in kinds]
    others += [jax.tree.map(lambda leaf: np.zeros((*leaf.shape, 2)), state), {"a": np.zeros(2)}, state[:3]]
    return [*map(_of_another, [*others, [state[1]] * 4, [np.zeros(2)] * 4])]


def _cases() -> st.SearchStrategy[dict[str, bytes]]:
    """The files that are other ones."""
    cases = []
    for name, content in _valid().items():
        try:
            document = json.loads(content)
        except ValueError:
            cases.append(damaged(content).map(lambda content, name=name: {name: content}))
        else:
            cases.append(any_json(document).map(lambda content, name=name: {name: content}))
    position = changed(json.loads(_valid()[POSITION])).map(lambda value: {POSITION: json.dumps(value).encode()})
    return st.one_of(*cases, position, position, st.sampled_from(_others()))


def _read(files: dict[str, bytes], folder: Path) -> None:
    shutil.rmtree(folder / "run", ignore_errors=True)
    run = _run(folder / "run")
    place = run.checkpoints / str(STEP)
    _write(_valid() | files, place)
    if FACTS not in files:
        _forge(place)
    refusals = []
    for command in (_evaluated, _exported, _continued):
        try:
            command(run)
        except UserError as error:
            refusals.append(error)
    if refusals:
        raise refusals[-1]


@cache
def _structure() -> trained.Structure:
    return trained.structure(trained.Description(RECIPE, DATA.classes, DATA.input_shape), DTYPES.param)


def _evaluated(run: RunDir) -> None:
    trained.load(run, RECIPE, lambda text: None)


def _exported(run: RunDir) -> None:
    saved = export_run._saved(run, RECIPE, _structure(), lambda text: None, "newest")
    export_run._stream_now(run, RECIPE, _structure(), saved.position)


def _continued(run: RunDir) -> None:
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.best in (None, STEP)
        lane = Lane(MEMBER, run, checkpoints, DTYPES)
        lane.restore(lambda text: None)
        assert lane.steps_done == STEP and lane.running_loss(2) is not None
        lane.member.stream.epoch_order(1, len(DATA.train), shuffle=True)
        lane.member.schedule.hyperparameters(STEP, 2)
        lane.member.schedule.end_epoch({"test_loss": 1.0, "test_accuracy": 0.5})


READERS = {"checkpoint": Reader(st.deferred(_cases), _read, "checkpoints")}


def test_anything_is_read_or_refused(tmp_path: Path) -> None:
    property_of(READERS["checkpoint"], tmp_path, examples=20)()


def test_what_orbax_left_undone_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Coroutines that were never started complain when they are collected, and so do failed tasks, now and then."""
    file = "state/_METADATA"
    document = json.loads(_valid()[file])
    [*_, leaf] = document["tree_metadata"].values()
    leaf["value_metadata"]["value_type"] = None
    with guarded():
        with pytest.raises(UserError, match="no checkpoint .* can be read"):
            _read({file: json.dumps(document).encode()}, tmp_path)
        gc.collect()
    told = "Task exception was never retrieved: ValueError('OUT_OF_RANGE [tensorstore_spec={}]')", "of another library"
    for message in told:
        logging.getLogger("asyncio").error(message)
    assert caplog.messages == ["of another library"]


@pytest.mark.parametrize(("shape", "chunk"), [((2**40,), (2**20,)), ((2,), (2**40,))])
def test_arrays_that_are_not_in_their_files(shape: tuple[int], chunk: tuple[int], tmp_path: Path) -> None:
    """Without the limit, tensorstore ends the process."""
    place = tmp_path / str(STEP)
    _write(_of_another([{"a": np.zeros(2)}] * 4), place)
    store = {"driver": "ocdbt", "base": f"file://{place}/state", "path": "1.a/"}
    layout = tensorstore.ChunkLayout(chunk_shape=chunk)
    tensorstore.open(
        {"driver": "zarr", "kvstore": store}, create=True, delete_existing=True, dtype=tensorstore.float64,
        shape=shape, chunk_layout=layout,
    ).result()  # fmt: skip
    _forge(place)
    with guarded(mebibytes=64), Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError) as refused:
        checkpoints.restore(STEP, None)
    assert "cannot be in its files" in str(refused.value.__cause__)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2}, {"done": -3}, {"done": "3"}, {"seconds": float("nan")}, {"stream": {}},
        {"stream": {"key": [0] * 623, "pos": 0}}, {"schedule": {"epoch": 2**40, "learning_rate": 0.1}},
        {"schedule": {"epoch": 0, "learning_rate": None}},
    ],
)  # fmt: skip
def test_positions_of_no_run_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    position = json.loads(_valid()[POSITION]) | change
    with pytest.raises(UserError, match="its position is none of this run"):
        _read({POSITION: json.dumps(position).encode()}, tmp_path)


def test_rows_without_what_a_training_needs_are_refused(tmp_path: Path) -> None:
    run = _run(tmp_path)
    _write(_valid(), run.checkpoints / str(STEP))
    run.write_metrics([{"epoch": 1, "step": 1}])
    with pytest.raises(UserError, match="a row has no test_accuracy"):
        _continued(run)


@pytest.mark.slow
def test_ten_thousand_cases(tmp_path: Path) -> None:
    seen: list[int] = []
    property_of(READERS["checkpoint"], tmp_path, examples=10_000, seen=seen)()
    assert len(seen) >= 10_000
