"""Command-line options of a fleet.

They are checked without Ray, which need not be installed for an error message.
"""

import argparse
from dataclasses import dataclass

# Seconds for which a worker is idle before it is stopped.
IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """Options of a fleet.

    Attributes:
        address: host and port of the cluster's head, as `HOST:PORT`.
        min_workers: number of workers to keep even if no job waits.
        max_workers: maximum number of workers; None for as many as fit on the cluster at the moment.
        cpus_per_worker: CPUs of each worker, which then gets no GPU; None for one GPU each if the cluster has any, else
            one CPU each.
        idle_seconds: seconds for which a worker beyond `min_workers` is idle before it is stopped.
        without_token: True to use a cluster that requires no token.
        pack: number of jobs of the same shape that each worker trains at once, in turns.
    """

    address: str
    min_workers: int = 1
    max_workers: int | None = None
    cpus_per_worker: int | None = None
    idle_seconds: float = IDLE_SECONDS
    without_token: bool = False
    pack: int = 1

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Host and port of the address."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the fleet's options to the parser of `python -m workers`."""
    fleet = parser.add_argument_group("fleet", "workers on a Ray cluster instead of this machine")
    fleet.add_argument("--ray", metavar="HOST:PORT", type=_address, help="address of the cluster's head")
    fleet.add_argument(
        "--min-workers", metavar="N", type=_natural, help="workers to keep even if no job waits (default: 1)"
    )
    fleet.add_argument(
        "--max-workers", metavar="N", type=_positive, help="maximum number of workers (default: as many as fit)"
    )
    fleet.add_argument(
        "--cpus-per-worker",
        metavar="N",
        type=_positive,
        help="CPUs of each worker, which then gets no GPU (default: one GPU each if the cluster has any, else one CPU)",
    )
    fleet.add_argument(
        "--idle-seconds",
        metavar="S",
        type=_seconds,
        help=f"seconds for which a worker is idle before it is stopped (default: {IDLE_SECONDS:g})",
    )
    fleet.add_argument(
        "--ray-without-token",
        action="store_true",
        default=None,
        help="use a cluster that requires no token: any client that reaches it may run programs",
    )


def fleet_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> FleetOptions | None:
    """Return the fleet's options; None if no fleet is requested.

    End the program with an error if the options contradict each other.
    """
    given = {
        "min_workers": arguments.min_workers,
        "max_workers": arguments.max_workers,
        "cpus_per_worker": arguments.cpus_per_worker,
        "idle_seconds": arguments.idle_seconds,
        "without_token": arguments.ray_without_token,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.ray is None:
        if given:
            names = ("ray_without_token" if name == "without_token" else name for name in given)
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            parser.error(f"{flags}: needs --ray HOST:PORT")
        return None
    if arguments.processes is not None:
        parser.error("--processes is for workers on this machine; with --ray, use --max-workers")
    options = FleetOptions(arguments.ray, pack=arguments.pack, **given)
    if options.max_workers is not None and options.min_workers > options.max_workers:
        parser.error(f"--min-workers {options.min_workers} is more than --max-workers {options.max_workers}")
    return options


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:6379")
    return text


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds of at least 0")
    return seconds
