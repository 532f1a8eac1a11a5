"""`python -m workers`: train queued jobs until stopped.

The workers run on this machine or on a Ray cluster.
"""

import argparse
import logging
import os
import re
import sys

from pydantic import ValidationError

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.parent_process import end_with_parent
from costcurve.runtime.private_files import set_private_umask
from costcurve.runtime.settings import Settings, explain
from costcurve.store import JobStore
from costcurve.store.database import Database
from workers.devices import available_devices
from workers.metrics_server import MetricsServer
from workers.ray.driver_supervisor import DriverSupervisor
from workers.ray.options import add_options, fleet_options
from workers.supervisor import Supervisor

# Seconds that the supervisor waits for a busy database. It must answer signals, so it gives up soon and retries later.
SUPERVISOR_PATIENCE = 0.3


def main() -> int:
    """Run the supervisor until it stops; return the exit code.

    Returns:
        0 after an orderly end, 1 if it could not start or could not end in order.
    """
    parser = argparse.ArgumentParser(prog="python -m workers", description="CostCurve's training workers.")
    parser.add_argument("--processes", type=_count, help="worker processes (default: one for each device)")
    parser.add_argument(
        "--pack", type=_count, default=1, help="jobs of the same shape that each process trains at once (default: 1)"
    )
    parser.add_argument("--name", type=_name, help="name in the ids of these workers, which are wrk_NAME_...")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input is closed")
    add_options(parser)
    arguments = parser.parse_args()
    fleet = fleet_options(parser, arguments)
    set_private_umask()
    if arguments.lifeline:
        end_with_parent()
    try:
        settings = Settings()
        configure_logging(log_format=settings.log_format, level=settings.log_level)
        Database(settings.resolved_database_url).close()  # migrate here, with the default lock timeout
        if fleet is not None:
            return 0 if DriverSupervisor(settings, fleet).run() else 1
        store = JobStore(Database(settings.resolved_database_url, lock_timeout=SUPERVISOR_PATIENCE))
    except ValidationError as error:
        sys.stderr.write(explain(error))
        return 1
    except StoreUnavailable as error:
        sys.stderr.write(f"cannot start: {error.detail}\n")
        return 1
    devices = available_devices()
    count = arguments.processes or len(devices)
    slots = [devices[index % len(devices)] for index in range(count)]
    metrics = None
    if settings.metrics_port is not None:
        try:
            metrics = MetricsServer(settings.metrics_host, settings.metrics_port)
        except OSError as error:
            sys.stderr.write(
                f"cannot start: metrics cannot be served at {settings.metrics_host}:{settings.metrics_port} ({error}); "
                "set COSTCURVE_METRICS_HOST and COSTCURVE_METRICS_PORT to a free address\n"
            )
            return 1
    supervisor = Supervisor(store, settings, slots, pack=arguments.pack, name=arguments.name, metrics=metrics)
    all_requeued = supervisor.run()
    if metrics is not None:
        metrics.close()
    if supervisor.leaves_processes:
        logging.shutdown()
        os._exit(1)
    return 0 if all_requeued else 1


def _name(text: str) -> str:
    if not re.fullmatch("[0-9a-z]{1,12}", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 to 12 lowercase letters and digits")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
