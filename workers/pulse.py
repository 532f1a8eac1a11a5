"""A process's pulse: a counter that grows while its interpreter runs."""

import threading
from ctypes import c_uint64
from time import sleep

# Seconds between two beats.
INTERVAL = 0.25


class Pulse:
    """A counter of heartbeats.

    It stops under SIGSTOP, or while one call holds the interpreter. It has no lock, as a process may be killed at any
    moment, even while it holds one.
    """

    def __init__(self, beats: c_uint64 | None = None) -> None:
        """Count here; by default in memory that no other process reads."""
        self._beats = c_uint64(0) if beats is None else beats

    def start(self) -> None:
        """Start a thread of this process that beats from now on."""
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    @property
    def beats(self) -> int:
        """Number of beats so far."""
        return self._beats.value

    def _beat(self) -> None:
        while True:
            self._beats.value += 1
            sleep(INTERVAL)


class Silence:
    """The time during which another process had no pulse.

    It is counted by our own pulse. So it does not run while this process itself is stopped by Ctrl-Z, a debugger or a
    frozen container.
    """

    def __init__(self, theirs: Pulse, ours: Pulse) -> None:
        self._theirs, self._ours = theirs, ours
        self._seen, self._since = theirs.beats, ours.beats

    @property
    def seconds(self) -> float:
        """Seconds of our pulse since the other one last changed."""
        seen, now = self._theirs.beats, self._ours.beats
        if seen != self._seen:
            self._seen, self._since = seen, now
        return (now - self._since) * INTERVAL
