"""A million images on disk: memory stays flat, a kill costs nothing but time, and two hosts read each image once."""

import itertools
import logging
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import pytest

from jaxnn import data, loop, recipes, streams
from jaxnn.checkpoint_policy import CheckpointPolicy
from jaxnn.data import Dataset, Split, packing, stream
from jaxnn.data.decoding import Images
from jaxnn.data.stored import Stored
from jaxnn.loop_test import assert_same
from jaxnn.recipe import Recipe
from jaxnn.run_dir import RunDir

EXAMPLES, TESTED, SIDE, CLASSES = 1_000_000, 10_000, 28, 10
MEBIBYTES = 48  # that a run may grow by once it is warm: less than a tenth of the images
BATCH = 256
_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload([__name__])

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Generated:
    """A ``Source`` of images that show their class as a bright bar in noise, and hold their row in four pixels."""

    first: int

    def images(self, rows: np.ndarray) -> Iterator[tuple[str, Images]]:
        noise = np.random.default_rng(0).integers(0, 128, 2**16 + SIDE * SIDE).astype(np.uint8)
        numbers = rows + self.first
        places = (numbers * 7919 % 2**16)[:, None] + np.arange(SIDE * SIDE)
        images = noise[places].reshape(len(rows), SIDE, SIDE, 1)
        for label in range(CLASSES):
            images[numbers % CLASSES == label, 2 * label + 4 : 2 * label + 8] += 100
        images[:, 0, :4, 0] = numbers.astype("<u4")[:, None].view(np.uint8)
        yield "generated", images


def generated(first: int, count: int) -> Split:
    images = Stored(Generated(first), np.arange(count), (SIDE, SIDE), 1)
    return Split(cast("Any", images), ((first + np.arange(count)) % CLASSES).astype(np.int32))


def rows_of(images: Images) -> np.ndarray:
    return np.ascontiguousarray(images[:, 0, :4, 0]).view("<u4")[:, 0]


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The packed set, 0.9 GB."""
    folder = tmp_path_factory.mktemp("million") / "packed"
    classes = tuple(map(str, range(CLASSES)))
    made = Dataset("million", generated(0, EXAMPLES), generated(EXAMPLES, TESTED), classes, "generated")
    began = time.monotonic()
    packing.pack(made, folder, shard_bytes=2**27)
    gigabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
    _say(f"packed {EXAMPLES + TESTED:,} images in {time.monotonic() - began:.0f} s, {gigabytes:.2f} GB")
    yield folder
    shutil.rmtree(folder)


def _say(text: str) -> None:
    logging.getLogger(__name__).info(text)  # shown by --log-cli-level=INFO


def _recipe(million: Path, **changes: Any) -> Recipe:
    recipe = recipes.get("fashion-mlp", dataset=str(million))
    return recipe.replace(**{"batch_size": BATCH, "epochs": 1, "dispatch": "step", "log_every": None} | changes)


def _loaded(million: Path) -> Dataset:
    recipe = _recipe(million)
    return data.prepare(data.load(str(million), input=recipe.input), recipe.input)


def _train(million: Path, run: Path, leaks: bool, steps: int | None) -> None:
    """In a process of its own: writes the memory after each of the loop's pauses into ``run``.memory."""
    kept: list[np.ndarray] = []
    if leaks:
        read = Stored.__getitem__

        def keeping(self: Stored, key: Any) -> Images:
            kept.append(read(self, key))
            return kept[-1]

        Stored.__getitem__ = keeping  # type: ignore[method-assign]

    def measure(epoch: int, step: int, **_: Any) -> None:
        with run.with_suffix(".memory").open("a") as file:
            file.write(f"{step} {_anonymous()}\n")

    policy, hooks = CheckpointPolicy(seconds=2), loop.Hooks(progress=measure)
    recipe = _recipe(million, steps=steps)
    loop.train(recipe, _loaded(million), RunDir(run), resume=True, policy=policy, memory_limit=2**24, hooks=hooks)


def _anonymous() -> int:
    """KiB of this process that are in memory and no file's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split(maxsplit=1)[0])


def _start(*arguments: Any) -> Any:
    child = _CHILDREN.Process(target=_train, args=arguments)
    child.start()
    return child


def _grown(run: Path) -> float:
    """MiB by which the memory of the last three quarters of the steps rose above that of the first of them."""
    rows = np.loadtxt(run.with_suffix(".memory"))
    warm = rows[rows[:, 0] > rows[-1, 0] / 4, 1]
    assert len(warm) > 5
    return float(warm.max() - warm[:3].max()) / 1024


@pytest.fixture(scope="module")
def uninterrupted(million: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("million") / "whole"
    child = _start(million, run, False, None)
    child.join()
    assert child.exitcode == 0
    return run


def test_memory_stays_flat(uninterrupted: Path) -> None:
    rows, last = np.loadtxt(uninterrupted.with_suffix(".memory")), RunDir(uninterrupted).read_metrics()[-1]
    _say(
        f"memory {rows[len(rows) // 4, 1] / 1024:.0f} to {rows[-1, 1] / 1024:.0f} MiB, "
        f"rise {_grown(uninterrupted):.1f} MiB; "
        f"{last['examples_per_second']:,.0f} examples/s, test accuracy {last['test_accuracy']:.4f}"
    )
    assert _grown(uninterrupted) < MEBIBYTES
    assert last["test_accuracy"] > 0.99


def test_a_leak_is_seen(million: Path, tmp_path: Path) -> None:
    """Batches that are kept, in half of the steps."""
    child = _start(million, tmp_path / "leaks", True, EXAMPLES // BATCH // 2)
    child.join()
    assert child.exitcode == 0
    assert _grown(tmp_path / "leaks") > MEBIBYTES


def test_killed_and_resumed_ends_with_the_same_bits(million: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run, newest = tmp_path / "killed", 0
    for wanted in (0.3, 0.6):
        child = _start(million, run, False, None)
        while child.is_alive() and newest < wanted * EXAMPLES / BATCH:
            time.sleep(0.05)
            newest = max((int(p.name) for p in run.glob("checkpoints/*") if p.name.isdecimal()), default=0)
        assert child.is_alive(), "it ended before it could be killed"
        child.kill()
        child.join()
    child = _start(million, run, False, None)
    child.join()
    assert child.exitcode == 0
    assert_same(RunDir(uninterrupted), RunDir(run))


def test_two_hosts_read_each_image_once(million: Path) -> None:
    split = _loaded(million).train
    order = streams.build(_recipe(million)).epoch_order(1, len(split), shuffle=True)
    examples = order[: EXAMPLES // 1000 * 1000].reshape(-1, 1000)
    seen = []
    for host in range(2):
        half = examples[:, 500 * host : 500 * (host + 1)]
        read = [rows_of(images) for images, _ in stream.batches(split, half)]
        np.testing.assert_array_equal(read, half)
        seen.append(np.concatenate(read))
    assert not np.intersect1d(*seen).size
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(EXAMPLES))


def test_throughput_is_stated(million: Path) -> None:
    """Batches of a shuffled order, from disk and from memory in turn; nothing is asserted of a shared machine."""
    split = _loaded(million).train
    places = {"disk": split, "memory": Split(np.asarray(split.inputs), split.labels)}
    order = np.random.default_rng(0).permutation(EXAMPLES)
    found: dict[str, list[float]] = {place: [] for place in places}
    for turn, place in itertools.product(range(5), places):
        rows = order[turn * BATCH * 200 :][: BATCH * 200].reshape(200, BATCH)
        began = time.monotonic()
        for images, _ in stream.batches(places[place], rows):
            jax.block_until_ready(jax.device_put(images))
        found[place].append(rows.size / (time.monotonic() - began))
    medians = {place: statistics.median(speeds) for place, speeds in found.items()}
    _say(f"images/s read by Grain: {medians['disk']:,.0f} from disk, {medians['memory']:,.0f} from memory")
