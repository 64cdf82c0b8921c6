"""Asks pip-audit about the versions in a constraints file; exit code 1 if one is known to be vulnerable.

pip-audit itself ends with 0 where its service knows no package or cannot be reached: here that is said.
"""

import json
import subprocess
import sys

constraints = sys.argv[1]
command = [sys.executable, "-m", "pip_audit", "--requirement", constraints, "--no-deps", "--disable-pip"]
asked = subprocess.run(  # nosec B603  # this interpreter, the file of the Makefile
    [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True
)
try:
    packages = json.loads(asked.stdout)["dependencies"]
except (ValueError, KeyError):
    last = (asked.stderr.strip().splitlines() or ["no answer"])[-1]
    print(f"dependencies not audited: the service of pip-audit cannot be reached ({last})")
    sys.exit(0)
known = [package for package in packages if "vulns" in package]
vulnerable = [package for package in known if package["vulns"]]
for package in vulnerable:
    found = ", ".join(f"{vuln['id']} (mended in {vuln['fix_versions'] or 'no version'})" for vuln in package["vulns"])
    print(f"{package['name']} {package['version']}: {found}")
if not known:
    print(f"dependencies not audited: the service that pip-audit reached knows none of {len(packages)} packages")
else:
    print(f"dependencies: {len(known)} of {len(packages)} packages audited, {len(vulnerable)} vulnerable")
sys.exit(1 if vulnerable else 0)
