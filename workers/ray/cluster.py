"""The cluster as a fleet sees it. The one module, with `driver`, that knows Ray: version 2.60.0, which is pinned."""

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

# Seconds for the cluster's head to accept a connection.
CONNECT = 5.0
# Seconds for the head to say whether it asks for a token.
ASK = 60.0
_IS_OPEN = 10
_spawn = multiprocessing.get_context("spawn")


class Refused(Exception):
    """The fleet must not run like this; says what to do about it. To try again would not help."""


class Unreachable(Exception):
    """The cluster does not answer at the moment."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many workers the living nodes have room for, and of which kind."""

    workers: int
    has_gpu: bool


def connect(options: FleetOptions) -> None:
    """Join the cluster as a driver.

    Raises:
        Refused: there is no token, or a wrong one, or the cluster asks for none and nobody said that this is meant.
        Unreachable: it does not answer.
    """
    if not options.without_token:
        _require_token()
    # Ray reads this when it is imported.
    os.environ["RAY_AUTH_MODE"] = "disabled" if options.without_token else "token"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What the workers say is passed on as it is: without colours, and nothing left out that others said as well.
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        socket.create_connection(options.host_and_port, timeout=CONNECT).close()  # Ray itself would try for 40 s
    except OSError as error:
        raise Unreachable(f"no Ray at {options.address}: {error}") from error
    if not options.without_token and _is_open(options.address):
        raise Refused(
            f"the Ray cluster at {options.address} asks nobody for a token: who reaches it can run any program there, "
            "with the database's password in reach. Start all its nodes with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; "
            "or, if nobody else can reach it, say --ray-without-token"
        )
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        GcsClient(address=options.address)  # it says what is wrong with a token, and at once, as `init` does not
        ray.init(address=options.address, namespace="costcurve", logging_level=logging.WARNING)
    except ray.exceptions.AuthenticationError as error:
        raise Refused(f"the Ray cluster at {options.address} does not take this token: {error}") from error
    except (ConnectionError, ray.exceptions.RayError, RuntimeError) as error:
        raise Unreachable(f"cannot join the Ray cluster at {options.address}: {error}") from error


def disconnect() -> None:
    """Leave the cluster. Ray then ends every actor that was started here and still runs."""
    import ray

    ray.shutdown()


def capacity(options: FleetOptions) -> Capacity:
    """What the living nodes have room for, were nothing else on them."""
    resources = [node["Resources"] for node in _nodes()]
    gpus = sum(int(each.get("GPU", 0)) for each in resources)
    if gpus and options.cpus_per_worker is None:
        return Capacity(gpus, has_gpu=True)
    cpus = options.cpus_per_worker or 1
    return Capacity(sum(int(each.get("CPU", 0) // cpus) for each in resources), has_gpu=False)


def ensure_shared(settings: Settings) -> None:
    """Raise Refused if the database is a file that workers elsewhere would not see."""
    if not settings.resolved_database_url.startswith("sqlite"):
        return
    hosts = {node["NodeManagerHostname"] for node in _nodes()}
    if hosts != {socket.gethostname()} or len(_nodes()) > 1:
        raise Refused(
            "SQLite is a file of one machine, and workers on this cluster's other nodes would each have their own. "
            "Set COSTCURVE_DATABASE_URL to a postgresql:// URL that every node reaches"
        )


def place(
    arguments: Sequence[str], settings: Mapping[str, str], *, has_gpu: bool, options: FleetOptions, name: str
) -> Any:
    """A new actor with a worker in it, wherever there is room, now or later.

    It ends with its driver, so that nothing lingers of which nobody knows. Ray does not start it again: the fleet does,
    which knows whether it is still wanted, and that what dies young must not be started again at once.
    """
    import ray

    resources = {"num_gpus": 1, "num_cpus": 0} if has_gpu else {"num_cpus": options.cpus_per_worker or 1, "num_gpus": 0}
    # `wait` lasts as long as the worker does, and must not keep `stop` waiting.
    actor = ray.remote(WorkerActor).options(**resources, max_restarts=0, max_concurrency=4, name=name)
    return actor.remote(list(arguments), dict(settings), has_gpu=has_gpu)


def _nodes() -> list[dict[str, Any]]:
    import ray

    try:
        return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    except ray.exceptions.RayError as error:
        raise Unreachable(f"the Ray cluster no longer answers: {error}") from error


def _require_token() -> None:
    """Raise Refused unless Ray will find a token; a file that cannot be read would end this process within Ray."""
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
        f"no token for the Ray cluster: RAY_AUTH_TOKEN is not set, and {why}. Set one of RAY_AUTH_TOKEN and "
        "RAY_AUTH_TOKEN_PATH to what the cluster's nodes were started with"
    )


def _is_open(address: str) -> bool:
    """Whether the cluster answers somebody who has no token. Asked by another process, as Ray decides once in each."""
    asking = _spawn.Process(target=_ask_without_token, args=(address,), name="asks-without-token")
    asking.start()
    asking.join(ASK)
    if asking.is_alive():
        asking.kill()
        asking.join()
    if asking.exitcode not in {0, _IS_OPEN}:
        raise Unreachable(f"the Ray cluster at {address} does not say whether it asks for a token")
    return asking.exitcode == _IS_OPEN


def _ask_without_token(address: str) -> None:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Ray logs that it was refused, which is what is hoped for
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    try:
        GcsClient(address=address)  # it asks for the cluster's id
    except AuthenticationError:
        return
    sys.exit(_IS_OPEN)
