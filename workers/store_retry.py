"""Waiting out a store that is unavailable: an outage holds training up, and costs no job anything."""

import threading
from collections.abc import Callable
from typing import TypeVar

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.outages import Outage
from workers.lease import Lease

T = TypeVar("T")

# Seconds to wait before the store is tried again.
_RETRY = 0.5
_WAITING = "waiting for the store"


class StoreRetry:
    """Tries until the store takes it, or until the worker is told to stop."""

    def __init__(self, stop: threading.Event, lease: Lease, outage: Outage) -> None:
        self._stop = stop
        self._lease = lease
        self._outage = outage

    def __call__(self, write: Callable[[], T]) -> T:
        """What `write` gives.

        Raises:
            StoreUnavailable: the worker was told to stop, and the store still does not take it.
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
