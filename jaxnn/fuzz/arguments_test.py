"""What is typed behind `jaxnn train`, `import` and `parity`, given anything: read as far as before the first file."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from jaxnn import checkpoint_choice, cli, data, recipes
from jaxnn.cli import import_, own_port, recipe_data, train
from jaxnn.cli.arguments import parse
from jaxnn.cli.parity import Options as ParityOptions
from jaxnn.cli.sweep import expand
from jaxnn.data import cache
from jaxnn.errors import UserError
from jaxnn.fuzz.damage import TEXTS
from jaxnn.fuzz.guard import Reader, guarded, hold_ten_thousand, property_of

WORDS = TEXTS | st.sampled_from(
    ["lenet", "mnist-mlp", "cifar-cnn", "csv", "x", "0", "-1", "3", "1e400", "inf", "nan", "9" * 30, "9" * 5000, "0.5,",
     "adam", "True", "None", "seed=1,2", "batch-size=4,8", "batch-size=" + "1," * 9999, "model.hidden=3", "--"]
)  # fmt: skip
FLAGS = st.sampled_from(
    """
    --epochs --steps --seed --seeds --sweep --batch-size --image-size --memory-limit --resume
    --checkpoint-every --data-dir --dataset --label --framework --precision --model.hidden --model.dropout
    --input.size --input.mean --optimizer.name --optimizer.learning-rate --clip.norm --optimizer.betas
    --schedule.name --loss.weight --augment.crop --left --level --torch --no
    """.split()
)
RESTS = st.lists(
    st.one_of(
        st.tuples(FLAGS, WORDS).map(list),
        st.tuples(FLAGS, WORDS).map(lambda pair: ["=".join(pair)]),
        WORDS.map(lambda word: [word]),
    ),
    max_size=4,
).map(lambda lists: [word for words in lists for word in words])  # fmt: skip


def _train(argv: list[str], folder: Path) -> None:
    with _help_is_no_fault():
        options = train._read(argv)
        expand(options.recipe, seeds=options.seeds, sweep=options.sweep)
        int((options.memory_limit or 0.0) * 2**30)


def _import(argv: list[str], folder: Path) -> None:
    with _help_is_no_fault():
        import_._read(argv)


def _parity(argv: list[str], folder: Path) -> None:
    with _help_is_no_fault():
        parse(ParityOptions, argv, prog="jaxnn parity")


def _with_paths(changes: dict[str, Any], folder: Path) -> None:
    recipe_data.with_absolute_paths(recipes.get("mnist-mlp").replace(**changes))


def _help_is_no_fault() -> Any:
    stack = contextlib.ExitStack()
    stack.enter_context(contextlib.suppress(SystemExit))
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    return stack


NAMED = st.tuples(st.sampled_from(["lenet", "mnist-mlp", "csv"]), RESTS).map(lambda pair: [pair[0], *pair[1]])
LITERALS = TEXTS | st.sampled_from(
    ["sgd", "sgd(", "sgd(lr=0.1)", "sgd(lr=1)(2)", "f(" * 500, "sgd(a=" + "-" * 5000 + "1)"]
)
READERS = {
    "train": Reader(NAMED | RESTS, _train, ""),
    "import": Reader(RESTS.map(lambda rest: ["w.pt", "lenet", *rest]) | RESTS, _import, ""),
    "parity": Reader(RESTS, _parity, ""),
    "--optimizer": Reader(
        LITERALS | st.lists(LITERALS, max_size=3).map("(".join), lambda text, _: own_port.optimizer(text), "--optimizer"
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_anything_is_read_or_refused(name: str, tmp_path: Path) -> None:
    property_of(READERS[name], tmp_path, examples=200 if name == "--optimizer" else 30)()


@pytest.mark.parametrize(
    ("read", "given", "says"),
    [
        (_train, ["lenet", "--memory-limit", "inf"], "--memory-limit must be"),
        (_train, ["lenet", "--seeds", "9" * 12], "ask for 999999999999 runs"),
        (_train, ["lenet", "--seeds", "9999", "--sweep", "epochs=1,2"], "ask for 19998 runs"),
        (lambda text, _: own_port.optimizer(text), "sgd(a=" + "-" * 5000 + "1)", "must be a name of torch.optim"),
        (lambda text, _: own_port.optimizer(text), "sgd(betas={[1]})", "must be a name of torch.optim"),
        (lambda text, _: checkpoint_choice.parse(text), "9" * 5000, "--checkpoint takes newest, best or the number"),
        (_with_paths, {"dataset": "~no such user/a.csv"}, "there is no home folder of that user; write the path in"),
        (_with_paths, {"weights": "~no such user/w.pt"}, "there is no home folder of that user"),
        (_with_paths, {"data_dir": "~no such user"}, "there is no home folder of that user"),
        (lambda path, _: data.load(path), "~no such user/a.csv", "there is no home folder of that user"),
        (lambda path, _: data.load("mnist", data_dir=path), "~no such user", "there is no home folder of that user"),
        (lambda path, _: data.fetch("mnist", data_dir=path), "~no such user", "there is no home folder of that user"),
    ],
)
def test_what_was_found_is_refused(read: Any, given: Any, says: str, tmp_path: Path) -> None:
    with guarded(), pytest.raises(UserError, match=says):
        read(given, tmp_path)


@pytest.mark.parametrize("name", ["JAXNN_CACHE_DIR", "XDG_CACHE_HOME", "TFDS_DATA_DIR", "JAXNN_DATA_DIR"])
def test_a_place_of_nobody_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("JAXNN_CACHE_DIR", "JAXNN_DATA_DIR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr("jaxnn.data.search.SYSTEM_FOLDERS", ())
    monkeypatch.setattr("jaxnn.data.cache.named_file", lambda name: cache.folder() / "no such set")
    monkeypatch.setenv(name, "~no such user/data")
    with pytest.raises(UserError, match="there is no home folder of that user"):
        data.load("mnist")


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def allocate(argv: list[str]) -> int:
        raise MemoryError

    monkeypatch.setattr(cli, "_dispatch", allocate)
    assert cli.main(["recipes"]) == 2
    assert capsys.readouterr().err.startswith("jaxnn: there is not enough memory")


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_cases(name: str, tmp_path: Path) -> None:
    hold_ten_thousand(READERS[name], tmp_path)
