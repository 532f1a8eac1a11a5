"""Entry point of `python -m service`: serves HTTP until SIGTERM or Ctrl-C."""

import argparse
import ipaddress
import logging
import socket
import sys

from costcurve.runtime.listening import listen
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.parent_process import end_with_parent
from costcurve.runtime.private_files import set_private_umask
from costcurve.runtime.settings import Settings
from costcurve.runtime.start_up import CannotStart, ended_by_errors
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.janitor import Janitor
from service.app import create_app
from service.first_key import ensure_admin_key
from service.http.graceful_server import Server, configured, limits_of
from service.key_limits import KeyRules

log = logging.getLogger(__name__)


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
        _ensure_safe(settings, address)
        sockets = [] if inherited is None else [inherited]
        metrics_port = None
        if settings.metrics_port is not None:
            sockets = sockets or [_listen(arguments.host, arguments.port)]
            sockets.append(metrics := _listen(settings.metrics_host, settings.metrics_port))
            metrics_port = metrics.getsockname()[1]
            log.info("metrics are served at http://%s:%d/metrics", settings.metrics_host, metrics_port)
        database = Database(settings.resolved_database_url)
        if settings.auth == "keys" and settings.init_key_file is not None:
            ensure_admin_key(JobStore(database), settings.init_key_file)
    # Seconds after which another thread lets the event loop's thread run; the default is 0.005.
    sys.setswitchinterval(0.001)
    app = create_app(
        database,
        allowed_hosts=settings.hosts_at(is_loopback=_is_loopback(address)),
        proxies=settings.proxies,
        cors_origins=settings.origins,
        metrics_port=metrics_port,
        keys=_key_rules(settings),
    )
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
    server.run(sockets=sockets or None)
    upkeep.stop()
    database.close()
    return 0 if server.started else 1


def _ensure_safe(settings: Settings, address: str) -> None:
    """Raise CannotStart if other machines could use the service without a key, unless the settings allow it."""
    if settings.auth is None and not _is_loopback(address):
        raise CannotStart(
            f"every client that reaches {address} could use this service, since it requires no key. "
            "Set COSTCURVE_AUTH=keys to require keys, or listen on 127.0.0.1, or set COSTCURVE_AUTH=off to allow this."
        )


def _key_rules(settings: Settings) -> KeyRules | None:
    if settings.auth != "keys":
        return None
    return KeyRules(
        requests_per_second=settings.key_requests_per_second,
        heavy_requests=settings.key_heavy_requests,
        failures_per_minute=settings.failed_keys_per_minute,
        project_limits=settings.project_limits,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise CannotStart(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


if __name__ == "__main__":
    sys.exit(main())
