"""Nothing runs what it reads: no eval, no shell, no pickle, no unpacking of archives in the code that ships."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "yaml.load", "tempfile.mktemp",
    "shutil.unpack_archive", "markupsafe.Markup", "Markup",
}  # fmt: skip
METHODS = {"extractall", "extract"}  # of a tar or zip, whatever its name
NEEDED = {"torch.load": ("weights_only", True), "jinja2.Environment": ("autoescape", True)}
REFUSED = {"shell": True, "allow_pickle": True, "weights_only": False, "verify": False}
ALLOWED = {
    "jaxnn/data/cifar.py": {"class _Unpickler(pickle.Unpickler)"},  # knows five harmless names; see its test
    "torchref/lessons/save_load.py": {  # what the lesson is about, on files that it has just written itself
        "torch.load without weights_only=True",
        "torch.load with weights_only=False",
    },
}


def found_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield from (f"class {node.name}({base})" for base in map(ast.unparse, node.bases) if base in CALLS)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {option.arg: getattr(option.value, "value", None) for option in node.keywords}
        if name in CALLS or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
            yield f"{name}()"
        if name in NEEDED and options.get(NEEDED[name][0]) is not NEEDED[name][1]:
            yield f"{name} without {NEEDED[name][0]}={NEEDED[name][1]}"
        yield from (f"{name} with {key}={value}" for key, value in REFUSED.items() if options.get(key) is value)


def test_the_code_that_ships_has_none() -> None:
    files = [path for room in ("jaxnn", "torchref", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    shipped = [path for path in files if not path.name.endswith("_test.py") and path.name != "conftest.py"]
    found = {
        name: extra
        for path in shipped
        if (extra := set(found_in(path.read_text())) - ALLOWED.get(name := path.relative_to(ROOT).as_posix(), set()))
    }
    assert found == {} and len(shipped) > 100


@pytest.mark.parametrize(
    "line",
    [
        "eval(x)", "exec(x)", "os.system(x)", "pickle.loads(x)", "torch.load(x)", "torch.load(x, weights_only=False)",
        "subprocess.run(x, shell=True)", "np.load(x, allow_pickle=True)", "tar.extractall(x)", "zip.extract(x)",
        "jinja2.Environment(loader=x)", "class A(pickle.Unpickler): pass", "requests.get(x, verify=False)",
    ],
)  # fmt: skip
def test_each_is_found(line: str) -> None:
    assert list(found_in(f"def f(x):\n    {line}\n"))


def test_what_is_harmless_is_not() -> None:
    harmless = "model.eval()\nnp.load(x)\ntorch.load(x, weights_only=True)\nre.compile(x)\nast.literal_eval(x)"
    assert not list(found_in(harmless))
