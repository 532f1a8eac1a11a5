"""Options of the worker program, for `python -m workers` and `costcurve work` alike."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass

from costcurve.runtime.arguments import seconds, whole_from

# Seconds for which a worker of a fleet is idle before it is stopped.
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WorkerOption:
    """One option.

    Attributes:
        flag: its name, with two hyphens.
        help: one sentence, with the default.
        read: returns the value from its text, or raises ArgumentTypeError; None if the option takes no value.
        metavar: stands for the value in the help.
    """

    flag: str
    help: str
    read: Callable[[str], object] | None
    metavar: str | None = None

    @property
    def name(self) -> str:
        """Its name as an attribute of the parsed arguments."""
        return self.flag.removeprefix("--").replace("-", "_")


def _name(text: str) -> str:
    if not re.fullmatch("[0-9a-z]{1,12}", text):
        raise ArgumentTypeError(f"{text!r} must be 1 to 12 lowercase letters and digits")
    return text


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:6379")
    return text


WORKER_OPTIONS = (
    WorkerOption("--processes", "Worker processes. Default: one for each device.", whole_from(1), "N"),
    WorkerOption(
        "--pack", "Jobs of the same shape that a process trains at once, in turns. Default: 1.", whole_from(1), "N"
    ),
    WorkerOption("--name", "Name in the ids of these workers, which are wrk_NAME_…", _name, "TEXT"),
)
FLEET_OPTIONS = (
    WorkerOption("--ray", "Run the workers on the Ray cluster with this head.", _address, "HOST:PORT"),
    WorkerOption("--min-workers", "Workers to keep even if no job waits. Default: 1.", whole_from(0), "N"),
    WorkerOption("--max-workers", "Workers at most. Default: as many as fit on the cluster.", whole_from(1), "N"),
    WorkerOption(
        "--cpus-per-worker",
        "CPUs of each worker, which then gets no GPU. Default: a GPU each if the cluster has any, else one CPU.",
        whole_from(1),
        "N",
    ),
    WorkerOption(
        "--idle-seconds",
        f"Seconds for which a worker is idle before it is stopped. Default: {IDLE_SECONDS:g}.",
        seconds,
        "S",
    ),
    WorkerOption(
        "--ray-without-token",
        "Use a cluster that requires no token: any client that reaches it may run programs.",
        read=None,
    ),
)
