"""``jaxnn launch``: several processes on this machine in the place of as many hosts."""

import socket
from dataclasses import dataclass
from typing import Annotated

import tyro

from jaxnn.cli.arguments import has, parse, value_of
from jaxnn.cli.devices import goes_on
from jaxnn.cli.watch import watch
from jaxnn.errors import UserError


@dataclass(frozen=True)
class Options:
    """Run `jaxnn train` in N processes that train one run together: jaxnn launch -n 4 -- train RECIPE --out RUN ..."""

    processes: Annotated[int, tyro.conf.arg(aliases=("-n",))]
    """How many processes. Each has all devices of a CPU for itself, or one GPU."""


def run(argv: list[str]) -> int:
    at = argv.index("--") if "--" in argv else len(argv)
    options, command = parse(Options, argv[:at], prog="jaxnn launch"), argv[at + 1 :]
    if options.processes < 1:
        raise UserError(f"--processes must be at least 1, but it is {options.processes}")
    if command[:1] != ["train"]:
        raise UserError("after -- comes the training to launch: `jaxnn launch -n 2 -- train RECIPE --out RUN`")
    for flag in ("--distributed", "--coordinator", "--num-processes", "--process-id"):
        if has(flag, command):
            raise UserError(f"jaxnn launch gives {flag} itself; leave it out")
    coordinator, count = f"127.0.0.1:{_free_port()}", options.processes
    places = ["--distributed", "--coordinator", coordinator, "--num-processes", str(count), "--process-id"]
    commands = [[*command, *places, str(number)] for number in range(count)]
    devices = [{"JAX_LOCAL_DEVICE_IDS": str(number)} for number in range(count)]
    return watch(commands, devices, resume=goes_on(value_of("--out", command)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
