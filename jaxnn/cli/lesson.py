"""``jaxnn lesson``"""

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxnn import course
from jaxnn.cli import backends, windows
from jaxnn.cli.arguments import nearest, parse
from jaxnn.errors import UserError


@dataclass(frozen=True)
class Options:
    """Runs a worked example of the documents: prints what it finds and, with --out, keeps its pictures."""

    name: tyro.conf.Positional[str]
    """One of those that `jaxnn lesson` lists."""
    framework: Literal["jax", "torch"] = "jax"
    """The same lesson in PyTorch, to the same digits."""
    out: Path | None = None
    """A folder for the pictures (PNG; of loss-surface also a page that can be turned)."""
    show: bool = False
    """Open the pictures in windows."""
    json: bool = False
    """Print one JSON object: every number and word."""
    seed: int = 420


def run(argv: list[str]) -> int:
    if not argv:
        return _list()
    options = parse(Options, argv, prog="jaxnn lesson")
    name = options.name
    if name not in course.LESSONS:
        raise UserError(f"there is no lesson {name!r}; {nearest(name, course.LESSONS)}")
    if not 0 <= options.seed < 2**63:
        raise UserError(f"--seed must be from 0 to 2**63 - 1, but it is {options.seed}")
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file; name a folder")
    if options.show and (missing := windows.missing()):
        raise UserError(f"--show found {missing}; --out DIR writes the pictures to files")
    lesson = backends.lesson(options.framework, name, options.seed)
    files = _files(name, lesson, options.out) if options.out is not None else []
    if options.json:
        print(json_format.dumps(_record(options, lesson, files)))
    else:
        print(course.text(name, lesson))
        for number, file in enumerate(files):
            print(f"{'' if number else chr(10)}wrote {file}")
    if options.show:
        from jaxnn import plots

        windows.show(plots.lesson_figures(name, lesson.numbers).values())
    return 0


def _list() -> int:
    width = max(map(len, course.LESSONS)) + 2
    for name, about in course.LESSONS.items():
        print(f"{name:<{width}}{about}")
    return 0


def _record(options: Options, lesson: course.Lesson, files: list[Path]) -> dict[str, Any]:
    return {
        "lesson": options.name,
        "framework": options.framework,
        "seed": options.seed,
        "numbers": {name: value.tolist() for name, value in lesson.numbers.items()},
        "words": lesson.words,
        "files": list(map(str, files)),
    }


def _files(name: str, lesson: course.Lesson, folder: Path) -> list[Path]:
    """Writes the lesson's pictures, and what else it has to look at, into ``folder``."""
    from jaxnn import plots
    from jaxnn.files import write_atomically

    contents: dict[str, str | bytes] = {
        f"{stem}.png": plots.png(figure) for stem, figure in plots.lesson_figures(name, lesson.numbers).items()
    }
    if name == "loss-surface":
        contents["loss-surface.html"] = plots.surface_page(lesson.numbers)
    if contents:
        folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        write_atomically(folder / file, content)
    return [folder / file for file in contents]
