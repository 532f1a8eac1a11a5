"""Entry point of `python -m service`: serves HTTP until SIGTERM or Ctrl-C."""

import argparse
import ipaddress
import socket
import sys

from costcurve.runtime.logging import configure_logging
from costcurve.runtime.parent_process import end_with_parent
from costcurve.runtime.private_files import set_private_umask
from costcurve.runtime.settings import Settings
from costcurve.runtime.start_up import ended_by_errors
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.janitor import Janitor
from service.app import create_app
from service.http.graceful_server import Server, configured, limits_of


def main() -> int:
    """Run the service; return 0 after an orderly stop, 1 if it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m service", description="The CostCurve HTTP service.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    parser.add_argument("--fd", type=int, help="listen on this inherited socket instead")
    parser.add_argument("--lifeline", action="store_true", help="exit when standard input is closed")
    arguments = parser.parse_args()
    set_private_umask()
    if arguments.lifeline:
        end_with_parent()
    # uvicorn's own `fd` option treats the socket as a Unix one; Nagle's algorithm then delays each response by 40 ms.
    inherited = socket.socket(fileno=arguments.fd) if arguments.fd is not None else None
    with ended_by_errors():
        settings = Settings()
        configure_logging(log_format=settings.log_format, level=settings.log_level)
        address = arguments.host if inherited is None else str(inherited.getsockname()[0])
        if settings.auth != "off" and not _is_loopback(address):
            sys.stderr.write(
                f"cannot start: every client that reaches {address} could use this service, since it requires no key. "
                "Listen on 127.0.0.1, or set COSTCURVE_AUTH=off to allow this.\n"
            )
            return 1
        database = Database(settings.resolved_database_url)
    # Seconds after which another thread lets the event loop's thread run; the default is 0.005.
    sys.setswitchinterval(0.001)
    app = create_app(database, allowed_hosts=settings.hosts_at(is_loopback=_is_loopback(address)))
    limits = limits_of(settings)
    config = configured(app, limits, host=arguments.host, port=arguments.port)
    server = Server(config, app=app, drain_seconds=settings.drain_seconds, limits=limits)
    upkeep = Janitor(
        JobStore(database),
        name=f"service on {socket.gethostname()}",
        lease_seconds=settings.lease_seconds,
        retention_days=settings.retention_days,
    )
    upkeep.start()
    server.run(sockets=None if inherited is None else [inherited])
    upkeep.stop()
    database.close()
    return 0 if server.started else 1


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


if __name__ == "__main__":
    sys.exit(main())
