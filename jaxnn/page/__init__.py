"""What the HTML pages share: frame, styles, plots under the pointer. Pages need no network, and escape every name.

A page brings a folder of templates of its own, with page.css and page.js, whose pages extend base.html.
"""

from pathlib import Path

import jinja2


def environment(templates: Path) -> jinja2.Environment:
    """For the templates in that folder and the shared ones."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
