"""Signals that end the process, as a flag instead of an exception.

An exception may be raised anywhere, even after a child process starts and before its handle is stored. A flag is
checked only where it is safe.
"""

import signal
import time
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LATENCY_SECONDS = 0.1


class Interruption:
    """Context in which SIGINT, SIGTERM and SIGHUP only set `happened`.

    Enter it in the main thread.
    """

    def __init__(self) -> None:
        self.happened = False
        self._before: dict[signal.Signals, Any] = {}

    def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, or until one of the signals arrives."""
        deadline = time.monotonic() + seconds
        while not self.happened and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LATENCY_SECONDS))

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: must outlive its terminal
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.happened = True
