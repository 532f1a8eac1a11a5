"""A process's pulse: a shared counter that grows only while its interpreter runs."""

import threading
from ctypes import c_uint64
from multiprocessing.sharedctypes import RawValue
from time import sleep

# Seconds between two beats.
INTERVAL = 0.25


class Pulse:
    """A counter that another process can read. It stands still under SIGSTOP, or while one call holds the interpreter.

    It has no lock: a process may be killed at any moment, also while it holds one.
    """

    def __init__(self) -> None:
        self._beats: c_uint64 = RawValue(c_uint64, 0)

    def start(self) -> None:
        """Beat from now on, in a thread of this process."""
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    @property
    def beats(self) -> int:
        """Beats so far."""
        return self._beats.value

    def _beat(self) -> None:
        while True:
            self._beats.value += 1
            sleep(INTERVAL)


class Silence:
    """The time for which another process has had no pulse, counted by our own pulse.

    So the time does not run while this process itself is stopped: by Ctrl-Z, a debugger or a frozen container.
    """

    def __init__(self, theirs: Pulse, ours: Pulse) -> None:
        self._theirs, self._ours = theirs, ours
        self._seen, self._since = theirs.beats, ours.beats

    @property
    def seconds(self) -> float:
        """Seconds of our pulse since theirs was last seen to move."""
        seen, now = self._theirs.beats, self._ours.beats
        if seen != self._seen:
            self._seen, self._since = seen, now
        return (now - self._since) * INTERVAL
