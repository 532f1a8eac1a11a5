"""`python -m tests.helpers.hanging`: `python -m workers`, where the first training of a neuron hangs for ever.

The variable HANGS says in which way.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from workers import supervisor
from workers.__main__ import main
from workers.process import main as _work

UNKILLABLE = "unkillable"
# A call with the interpreter free, as of a device or a dead file server; one that holds it; and one that the kernel
# keeps, so that SIGKILL has no effect.
WAYS: dict[str, Callable[[], object]] = {
    "interpreter-free": threading.Event().wait,
    "interpreter-held": lambda: ctypes.PyDLL(None).sleep(3600),
    UNKILLABLE: lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def _hang_once(how: str, folder: Path) -> None:
    from workers.engines import autograd

    train = autograd.train_neuron

    def hanging(*given, **named):
        try:
            (folder / "hung").touch(exist_ok=False)
        except FileExistsError:
            yield from train(*given, **named)
        else:
            (folder / "pid").write_text(str(os.getpid()))
            WAYS[how]()

    autograd.train_neuron = hanging


def work(*given: object) -> None:
    """Be a worker whose first training of a neuron hangs."""
    _hang_once(os.environ["HANGS"], Path(os.environ["COSTCURVE_HOME"]))
    _work(*given)


if __name__ == "__main__":
    from tests.helpers import hanging

    supervisor.process.main = hanging.work
    if os.environ["HANGS"] == UNKILLABLE:
        supervisor.KILL = 2.0
        supervisor.ForkedProcess.kill = lambda _: None
    sys.exit(main())
