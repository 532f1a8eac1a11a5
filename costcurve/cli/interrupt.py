"""Being told to end, as a flag instead of an exception.

An exception may strike anywhere, also between a child process's start and the line that remembers it; a flag is looked
at where it is safe.
"""

import signal
import time
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LATENCY_SECONDS = 0.1


class Interruption:
    """While it is entered, SIGINT, SIGTERM and SIGHUP only set `happened`. For the main thread."""

    def __init__(self) -> None:
        self.happened = False
        self._before: dict[signal.Signals, Any] = {}

    def pause(self, seconds: float) -> None:
        """Sleep so long, or until told to end."""
        deadline = time.monotonic() + seconds
        while not self.happened and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LATENCY_SECONDS))

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: meant to outlive its terminal
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.happened = True
