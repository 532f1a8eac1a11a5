"""Retries while the store is unavailable.

An outage delays training, but no job loses anything.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.outages import Outage
from workers.lease import Lease

T = TypeVar("T")

# Seconds between two tries.
_RETRY = 0.5
_WAITING = "waiting for the store"


class StoreRetry:
    """Repeats a call until the store answers or the worker stops."""

    def __init__(self, stop: threading.Event, lease: Lease, outage: Outage) -> None:
        self._stop = stop
        self._lease = lease
        self._outage = outage

    def __call__(self, write: Callable[[], T]) -> T:
        """Return the result of `write`, retried until the store answers.

        Raises:
            StoreUnavailable: the worker is to stop, and the store is still unavailable.
            WorkerRetired: the lease was lost meanwhile.
        """
        while True:
            try:
                written = write()
            except StoreUnavailable as error:
                if self._stop.is_set():
                    raise
                self._outage.failed(_WAITING, error)
                self._stop.wait(_RETRY)
                self._lease.mark_progress()
            else:
                self._outage.worked(_WAITING)
                return written
