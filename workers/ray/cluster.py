"""The Ray cluster as a fleet uses it.

Only this module and `driver` use Ray: version 2.60.0, which is pinned.
"""

import logging
import multiprocessing
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from costcurve.runtime.settings import Settings
from workers.ray.actor import WorkerActor
from workers.ray.options import FleetOptions

log = logging.getLogger(__name__)

# Seconds within which the cluster's head must accept a connection.
CONNECT = 5.0
# Seconds within which the head must answer a request without a token.
ASK = 60.0
_IS_OPEN = 10
_spawn = multiprocessing.get_context("spawn")


class Refused(Exception):
    """A configuration with which the fleet must not run.

    The message says what to do about it. A retry would not help.
    """


class Unreachable(Exception):
    """The cluster does not answer at the moment."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Number and kind of workers for which the living nodes have room."""

    workers: int
    has_gpu: bool


def connect(options: FleetOptions) -> None:
    """Join the cluster as a driver.

    Raises:
        Refused: the token is missing or wrong, or the cluster requires none and `without_token` is not set.
        Unreachable: the cluster does not answer.
    """
    if not options.without_token:
        _require_token()
    # Ray reads this when it is imported.
    os.environ["RAY_AUTH_MODE"] = "disabled" if options.without_token else "token"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Pass on the workers' log lines unchanged: without colours, and without dropping lines that several workers log.
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        socket.create_connection(options.host_and_port, timeout=CONNECT).close()  # Ray itself would try for 40 s
    except OSError as error:
        raise Unreachable(f"no Ray cluster answers at {options.address}: {error}") from error
    if not options.without_token and _is_open(options.address):
        raise Refused(
            f"the Ray cluster at {options.address} requires no token: any client that reaches it can run programs "
            "there and read the database's password. Start all its nodes with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; "
            "or, if no other client can reach it, use --ray-without-token"
        )
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        GcsClient(address=options.address)  # unlike `init`, it reports a wrong token, and at once
        ray.init(address=options.address, namespace="costcurve", logging_level=logging.WARNING)
    except ray.exceptions.AuthenticationError as error:
        raise Refused(f"the Ray cluster at {options.address} rejects this token: {error}") from error
    except (ConnectionError, ray.exceptions.RayError, RuntimeError) as error:
        raise Unreachable(f"cannot join the Ray cluster at {options.address}: {error}") from error


def disconnect() -> None:
    """Leave the cluster. Ray then ends every actor of this driver."""
    import ray

    ray.shutdown()


def capacity(options: FleetOptions) -> Capacity:
    """Return how many workers the living nodes could hold if empty."""
    resources = [node["Resources"] for node in _nodes()]
    gpus = sum(int(each.get("GPU", 0)) for each in resources)
    if gpus and options.cpus_per_worker is None:
        return Capacity(gpus, has_gpu=True)
    cpus = options.cpus_per_worker or 1
    return Capacity(sum(int(each.get("CPU", 0) // cpus) for each in resources), has_gpu=False)


def ensure_shared(settings: Settings) -> None:
    """Raise Refused if other nodes of the cluster cannot see the database.

    This is so if it is an SQLite file and the cluster has another node.
    """
    if not settings.resolved_database_url.startswith("sqlite"):
        return
    hosts = {node["NodeManagerHostname"] for node in _nodes()}
    if hosts != {socket.gethostname()} or len(_nodes()) > 1:
        raise Refused(
            "the database is an SQLite file on this machine, and this cluster's other nodes cannot open it. "
            "Set COSTCURVE_DATABASE_URL to a postgresql:// URL that every node reaches"
        )


def place(
    arguments: Sequence[str], settings: Mapping[str, str], *, has_gpu: bool, options: FleetOptions, name: str
) -> Any:
    """Create an actor with a worker, on any node with room.

    If there is no room, Ray places it later. The actor ends with its driver, so no forgotten actor remains.

    Ray does not restart it; the fleet does. Only the fleet knows whether the worker is still needed, and that one that
    died young must wait for a backoff.
    """
    import ray

    resources = {"num_gpus": 1, "num_cpus": 0} if has_gpu else {"num_cpus": options.cpus_per_worker or 1, "num_gpus": 0}
    # Several calls at once: `wait` lasts as long as the worker, and must not block `stop`.
    actor = ray.remote(WorkerActor).options(**resources, max_restarts=0, max_concurrency=4, name=name)
    return actor.remote(list(arguments), dict(settings), has_gpu=has_gpu)


def _nodes() -> list[dict[str, Any]]:
    import ray

    try:
        return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    except ray.exceptions.RayError as error:
        raise Unreachable(f"the Ray cluster no longer answers: {error}") from error


def _require_token() -> None:
    """Raise Refused unless Ray will find a token.

    Ray itself would end this process if the token's file cannot be read.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else Path.home() / ".ray" / "auth_token"
    try:
        if path.read_text().strip():
            return
        why = f"{path} is empty"
    except (OSError, UnicodeDecodeError) as error:
        why = f"{path} cannot be read ({error})"
    raise Refused(
        f"no token for the Ray cluster: RAY_AUTH_TOKEN is not set, and {why}. Set RAY_AUTH_TOKEN to "
        "the token with which the cluster's nodes were started, or RAY_AUTH_TOKEN_PATH to its file"
    )


def _is_open(address: str) -> bool:
    """Return True if the cluster answers a client without a token.

    Another process asks, as Ray fixes the authentication mode once per process.
    """
    asking = _spawn.Process(target=_ask_without_token, args=(address,), name="asks-without-token")
    asking.start()
    asking.join(ASK)
    if asking.is_alive():
        asking.kill()
        asking.join()
    if asking.exitcode not in {0, _IS_OPEN}:
        raise Unreachable(f"the Ray cluster at {address} did not answer a request without a token")
    return asking.exitcode == _IS_OPEN


def _ask_without_token(address: str) -> None:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Ray logs a refusal, which is the expected answer
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    try:
        GcsClient(address=address)  # requests the cluster's id
    except AuthenticationError:
        return
    sys.exit(_IS_OPEN)
