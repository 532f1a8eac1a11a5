"""`python -m workers`: train queued jobs until stopped.

The workers run on this machine or on a Ray cluster.
"""

import argparse
import sys
from collections.abc import Iterable

from costcurve.runtime.logging import configure_logging
from costcurve.runtime.parent_process import end_with_parent
from costcurve.runtime.private_files import set_private_umask
from costcurve.runtime.settings import Settings
from costcurve.runtime.start_up import ended_by_errors
from costcurve.runtime.worker_options import FLEET_OPTIONS, WORKER_OPTIONS, WorkerOption
from costcurve.store import JobStore
from costcurve.store.database import Database
from workers.devices import available_devices
from workers.metrics_server import MetricsServer
from workers.ray.driver_supervisor import DriverSupervisor
from workers.ray.options import fleet_options
from workers.supervisor import Supervisor

# Seconds that the supervisor waits for a busy database. It must answer signals, so it gives up soon and retries later.
SUPERVISOR_PATIENCE = 0.3


def main() -> int:
    """Run the supervisor until it stops; return the exit code.

    Returns:
        0 after an orderly end, 1 if it could not start or could not end in order.
    """
    parser = argparse.ArgumentParser(prog="python -m workers", description="CostCurve's training workers.")
    _add_options(parser, WORKER_OPTIONS)
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    _add_options(parser.add_argument_group("fleet", "workers on a Ray cluster instead of this machine"), FLEET_OPTIONS)
    parser.set_defaults(pack=1)
    arguments = parser.parse_args()
    fleet = fleet_options(parser, arguments)
    set_private_umask()
    if arguments.lifeline:
        end_with_parent()
    with ended_by_errors():
        settings = Settings()
        configure_logging(log_format=settings.log_format, level=settings.log_level)
        Database(settings.resolved_database_url).close()  # migrate here, with the default lock timeout
        if fleet is not None:
            return 0 if DriverSupervisor(settings, fleet).run() else 1
        store = JobStore(Database(settings.resolved_database_url, lock_timeout=SUPERVISOR_PATIENCE))
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
    ended_in_order = supervisor.run()
    if metrics is not None:
        metrics.close()
    return 0 if ended_in_order else 1


def _add_options(parser: argparse._ActionsContainer, options: Iterable[WorkerOption]) -> None:
    for option in options:
        if option.read is None:
            parser.add_argument(option.flag, action="store_true", default=None, help=option.help)
        else:
            parser.add_argument(option.flag, type=option.read, metavar=option.metavar, help=option.help)


if __name__ == "__main__":
    sys.exit(main())
