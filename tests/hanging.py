"""`python -m tests.hanging`: `python -m workers`, where the first training of a neuron hangs for ever.

The variable HANGS says in which way. A worker process imports this module, as it is its supervisor's main module.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from workers.__main__ import main

# A call with the interpreter free, as of a device or a dead file server; and one that holds it.
WAYS: dict[str, Callable[[], object]] = {
    "interpreter-free": threading.Event().wait,
    "interpreter-held": lambda: ctypes.PyDLL(None).sleep(3600),
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


if __name__ == "__mp_main__":
    _hang_once(os.environ["HANGS"], Path(os.environ["COSTCURVE_HOME"]))
elif __name__ == "__main__":
    sys.exit(main())
