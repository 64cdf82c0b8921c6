"""For tests: a page in a real browser, asked by a script what it shows."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
"""None where there is no browser."""

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
_FLAGS += ("--disable-component-update", "--disable-sync", "--disable-quic", "--dump-dom")

_WATCH = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("securitypolicyviolation", (event) => problems.push(event.blockedURI));
</script>"""
_TOOLS = """<script>
const found = {};
const hover = (area, x, y) => {
  const box = area.getBoundingClientRect();
  const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
  area.dispatchEvent(new PointerEvent("pointermove", at));
};
%s
found.problems = problems;
document.body.innerHTML = "<pre></pre>";
document.querySelector("pre").textContent = JSON.stringify(found);
</script>"""


def run(document: str, script: str, folder: Path, *, width: int = 1200) -> dict[str, Any]:
    """Opens ``document`` in a window of ``width`` pixels, runs ``script`` (JavaScript, with ``hover``), and returns
    what it puts into ``found``, with the ``problems`` met: errors, and requests that the page's policy refused."""
    probed = document.replace("<head>", "<head>" + _WATCH).replace("</body>", _TOOLS % script + "</body>")
    (folder / "page.html").write_text(probed)
    command = [str(PROGRAM), *_FLAGS, f"--window-size={width},2000", f"--user-data-dir={folder / 'profile'}"]
    output = subprocess.run(  # nosec B603  # the browser of the tests, on a page that they wrote
        [*command, (folder / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    match = re.search(r"<pre>(.*)</pre>", output, re.DOTALL)
    assert match is not None, output[-2000:]
    return json.loads(html.unescape(match[1]))
