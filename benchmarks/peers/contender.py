"""One peer in a process of its own, that trains whenever it is asked to."""

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
# The environment with the libraries that the product does without; `make bench` builds it.
PEERS_PYTHON = BENCHMARKS.parent / ".venv-bench" / "bin" / "python"
ELSEWHERE = ("scikit_learn", "jax_scan")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class Contender:
    """`python -m peers TASK MODULE [OPTION…]` on one core with one thread, until the end of a `with`."""

    def __init__(self, task: Path, core: int | None, module: str, *options: str) -> None:
        """Start it; `task` is a saved `Task`; None leaves the choice of the core to the system.

        Raises:
            Unavailable: it cannot be had on this machine.
        """
        python = PEERS_PYTHON if module in ELSEWHERE else sys.executable
        # What torch.compile compiles goes away with the task.
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
        """Train; returns the seconds that it took, and the accuracy on the test images after that."""
        self.begin(epochs)
        return self.end()

    def begin(self, epochs: int) -> None:
        """What `train` does, without waiting for it."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{epochs}\n")
        self._process.stdin.flush()

    def end(self) -> tuple[float, float]:
        """Wait for what was begun; returns what `train` returns."""
        answer = self._read()
        return answer["seconds"], answer["accuracy"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with exit status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        self._process.communicate()


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """A process that is started in here stays on this core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
