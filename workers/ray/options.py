"""Options of a fleet.

They are checked without Ray, which need not be installed for an error message.
"""

import argparse
from dataclasses import dataclass

from costcurve.runtime.worker_options import IDLE_SECONDS


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
