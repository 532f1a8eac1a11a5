"""What runs in a Ray actor: the ordinary supervisor with one worker, as a child process.

The worker is the same program as everywhere, so signals, leases and crashes are what they are elsewhere. The actor
holds the end of a pipe to it (costcurve/runtime/parent_process.py): however the actor ends, killed with its node or
with its driver, the supervisor sees the pipe close, and hands back what its worker has in hand.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from costcurve.runtime.settings import Settings

_PREFIX = Settings.model_config["env_prefix"]
# What lets a program into the cluster is none of the worker's business.
_NOT_FOR_WORKERS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# What libpq takes from the environment if the database's URL has it not.
_OF_POSTGRESQL = ("PGPASSWORD", "PGSSL")
# Of workers that share a host only one could have it.
_OF_ONE = ("METRICS_PORT",)
_NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": ""}


def shared_settings(environment: Mapping[str, str], database_url: str) -> dict[str, str]:
    """What of the fleet's own environment its workers get, wherever they run; it wins over what the node says."""
    ours = {name: value for name, value in environment.items() if name.startswith((_PREFIX, *_OF_POSTGRESQL))}
    for name in _OF_ONE:
        ours.pop(_PREFIX + name, None)
    return {**ours, _PREFIX + "DATABASE_URL": database_url}


class WorkerActor:
    """A place on the cluster with a worker in it. The class of a Ray actor: plain Python, which Ray wraps."""

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str], *, has_gpu: bool) -> None:
        """Start the worker.

        Args:
            arguments: of `python -m workers`.
            settings: environment variables, which win over the node's own.
            has_gpu: whether it may see the GPU that Ray has chosen for this actor, or none.
        """
        environment = {**os.environ, **settings, **({} if has_gpu else _NO_GPU)}
        for name in _NOT_FOR_WORKERS:
            environment.pop(name, None)
        # -P: a folder of the same name where Ray happens to stand must not be taken for ours.
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "workers", "--processes", "1", "--lifeline", *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,  # whoever ends the actor's group must not keep the worker from handing back
        )

    def is_up(self) -> bool:
        """Answers once the actor has been placed and its worker started."""
        return True

    def wait(self) -> int:
        """The worker's exit code, once it has ended."""
        return self._process.wait()

    def stop(self) -> None:
        """Have the worker hand back what it has in hand, and end; `wait` then returns."""
        self._process.terminate()
