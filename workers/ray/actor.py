"""A Ray actor that runs the ordinary supervisor with one worker.

The supervisor is a child process and the same program as everywhere, so signals, leases and crashes work as usual. The
actor holds one end of a pipe to it (costcurve/runtime/parent_process.py). When the actor ends, even killed with its
node or its driver, the pipe closes. The supervisor sees this and requeues its worker's jobs.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from costcurve.runtime.settings import Settings

_PREFIX = Settings.model_config["env_prefix"]
# The worker does not need the tokens that admit a program to the cluster.
_NOT_FOR_WORKERS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# Prefixes of variables that libpq reads for values missing from the database's URL.
_OF_POSTGRESQL = ("PGPASSWORD", "PGSSL")
# Settings that only one of several workers on a host could use.
_OF_ONE = ("METRICS_PORT",)
# The file may be on the fleet's host only; the URL has its password.
_REPLACED = ("DATABASE_PASSWORD_FILE",)
_NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": ""}


def shared_settings(environment: Mapping[str, str], database_url: str) -> dict[str, str]:
    """Return the fleet's environment variables that all its workers get.

    They override those of the node on which a worker runs.
    """
    ours = {name: value for name, value in environment.items() if name.startswith((_PREFIX, *_OF_POSTGRESQL))}
    for name in _OF_ONE + _REPLACED:
        ours.pop(_PREFIX + name, None)
    return {**ours, _PREFIX + "DATABASE_URL": database_url}


class WorkerActor:
    """A place on the cluster with one worker.

    This is the class of a Ray actor: plain Python, which Ray wraps.
    """

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str], *, has_gpu: bool) -> None:
        """Start the worker.

        Args:
            arguments: command-line arguments of `python -m workers`.
            settings: environment variables; they override the node's own.
            has_gpu: True if the worker may use the GPU that Ray chose for this actor; otherwise it sees no GPU.
        """
        environment = {**os.environ, **settings, **({} if has_gpu else _NO_GPU)}
        for name in _NOT_FOR_WORKERS:
            environment.pop(name, None)
        # -P: Python must not import a folder of the same name from Ray's working directory.
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "workers", "--processes", "1", "--lifeline", *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,  # a signal to the actor's process group must not stop the requeue
        )

    def is_up(self) -> bool:
        """Return True once the actor is placed and its worker started."""
        return True

    def wait(self) -> int:
        """Wait until the worker ends and return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """Ask the worker to requeue its jobs and end.

        `wait` then returns.
        """
        self._process.terminate()
