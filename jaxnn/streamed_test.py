"""Training on images that stay on disk: the bits of training in memory, also when a broken image has interrupted it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnn import data, loop, recipes
from jaxnn.data import Dataset, packing
from jaxnn.errors import UserError
from jaxnn.loop_test import assert_same
from jaxnn.run_dir import RunDir

RECIPE = recipes.get("fashion-mlp-bn").replace(
    **{"batch_size": 10, "epochs": 2, "log_every": None, "dispatch": "step", "eval_batch_size": 7, "augment.crop": 2}
)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of two classes, of many sizes."""
    folder, random = tmp_path_factory.mktemp("streamed") / "pets", np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 128 if label == "cat" else 256, (20 + number % 3, 25, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def loaded(path: Path, *, memory_limit: int | None = None) -> Dataset:
    return data.prepare(data.load(str(path), input=RECIPE.input, memory_limit=memory_limit), RECIPE.input)


def trained(dataset: Dataset, folder: Path, *, resume: bool = False) -> RunDir:
    run = RunDir(folder)
    loop.train(RECIPE, dataset, run, memory_limit=0, resume=resume)
    return run


@pytest.fixture(scope="module")
def in_memory(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("streamed") / "in-memory")
    loop.train(RECIPE, loaded(pets), run)
    return run


def _packed(pets: Path, tmp_path: Path) -> Dataset:
    packing.pack(data.load(str(pets), memory_limit=0), tmp_path / "packed", shard_bytes=20_000)
    return loaded(tmp_path / "packed")


PLACES: dict[str, Callable[[Path, Path], Dataset]] = {
    "folder": lambda pets, tmp_path: loaded(pets, memory_limit=0),
    "packed": _packed,
}


@pytest.mark.parametrize("place", PLACES)
def test_streamed_from_disk_ends_with_the_same_bits(place: str, pets: Path, in_memory: RunDir, tmp_path: Path) -> None:
    dataset = PLACES[place](pets, tmp_path)
    run = trained(dataset, tmp_path / "run")
    assert_same(in_memory, run)
    last, again = run.read_metrics()[-1], loop.evaluate(RECIPE, dataset, run)
    assert (last["test_loss"], last["test_accuracy"]) == (again["test_loss"], again["test_accuracy"])


def test_a_run_begun_in_memory_goes_on_from_disk(pets: Path, in_memory: RunDir, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    loop.train(RECIPE.replace(epochs=1), loaded(pets), run)
    assert_same(in_memory, trained(loaded(pets, memory_limit=0), run.path, resume=True))


def test_a_broken_image_ends_a_run_which_goes_on_once_it_is_mended(
    pets: Path, in_memory: RunDir, tmp_path: Path
) -> None:
    broken, run = pets / "dog" / "7.png", RunDir(tmp_path / "run")
    whole, dataset = broken.read_bytes(), loaded(pets, memory_limit=0)
    epochs = 0

    def break_it(rows: object) -> None:
        nonlocal epochs
        epochs += 1
        broken.write_bytes(whole[:100])

    try:
        with pytest.raises(UserError, match=r"pets: dog/7.png is a broken image; replace or remove it"):
            loop.train(RECIPE, dataset, run, memory_limit=0, hooks=loop.Hooks(epoch=break_it))
    finally:
        broken.write_bytes(whole)
    assert epochs == 1
    assert_same(in_memory, trained(loaded(pets, memory_limit=0), run.path, resume=True))
