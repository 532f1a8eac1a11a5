"""One peer in a process of its own, which trains on request."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from .task import Unavailable

BENCHMARKS = Path(__file__).parent.parent
# The environment with the libraries that only the benchmarks need; `make bench` builds it.
PEERS_PYTHON = BENCHMARKS.parent / ".venv-bench" / "bin" / "python"
IN_PEERS_VENV = ("scikit_learn", "jax_scan")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class Contender:
    """A process `python -m peers TASK MODULE [OPTION…]` with one thread on one core.

    It is a context manager; the process ends with the `with` block.
    """

    def __init__(self, task: Path, core: int | None, module: str, *options: str) -> None:
        """Start the process.

        Args:
            task: file of a saved `Task`.
            core: number of the core; None lets the system choose.
            module: module of the peer.
            options: options of the peer.

        Raises:
            Unavailable: the peer is not available on this machine.
        """
        python = PEERS_PYTHON if module in IN_PEERS_VENV else sys.executable
        # The output of torch.compile is deleted with the task.
        environment = {**os.environ, **ONE_THREAD, "TORCHINDUCTOR_CACHE_DIR": str(task.parent / "inductor")}
        with _pinned(core):
            self._process = subprocess.Popen(
                [python, "-m", "peers", task, module, *options],
                cwd=BENCHMARKS,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        first = self._read()
        if "unavailable" in first:
            self._end()
            raise Unavailable(first["unavailable"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def train(self, epochs: int = 1) -> tuple[float, float]:
        """Train these epochs; return the seconds and the test accuracy afterwards."""
        self.begin(epochs)
        return self.end()

    def begin(self, epochs: int) -> None:
        """Start to train these epochs, without waiting for the end."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{epochs}\n")
        self._process.stdin.flush()

    def end(self) -> tuple[float, float]:
        """Wait for the epochs started by `begin`; return what `train` returns."""
        response = self._read()
        return response["seconds"], response["accuracy"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with exit status {self._process.wait()}")
        response: dict[str, Any] = json.loads(line)
        return response

    def _end(self) -> None:
        self._process.communicate()


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Pin processes that are started in this context to one core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
