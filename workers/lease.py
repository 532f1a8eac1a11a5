"""A worker's lease on everything that it has in hand, renewed by a thread for as long as training gets on."""

import logging
import threading
from time import monotonic

from jobs.errors import StoreUnavailable, WorkerRetired
from jobs.store import JobStore
from workers import metrics

log = logging.getLogger(__name__)

# Renewals in the time of one lease.
_BEATS_PER_LEASE = 5
# Share of a lease after which a worker that could not renew it stops by itself, well before others may take over.
_FIRM = 0.7
# Share of a lease after which a renewal that failed is tried again.
_RETRY = 0.05
# Seconds between two looks at a lease that is waited for.
_LOOK_INTERVAL = 0.05


class Lease:
    """Says whether this worker may go on.

    A renewal counts from the last moment at which training got on, not from the moment it is made: a worker whose
    device hangs loses its lease like one that died.
    """

    def __init__(self, store: JobStore, worker_id: str, *, seconds: float) -> None:
        """The lease of a worker that has just been registered."""
        self._store = store
        self._worker_id = worker_id
        self._seconds = seconds
        self._got_on = monotonic()
        self._firm_until = self._got_on + _FIRM * seconds
        self._retired = False
        self._beat_now = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to renew it."""
        self._thread.start()

    def stop(self) -> None:
        """Renew it no more."""
        self._closed = True
        self._beat_now.set()

    def got_on(self) -> None:
        """Tell that training has got on, or that there is nothing to train."""
        self._got_on = monotonic()

    def ensure(self, stop: threading.Event) -> None:
        """Return at once while the lease is firm; otherwise when it is again, or when `stop` is set.

        Raises:
            WorkerRetired: it is lost for good.
        """
        if not self._retired and monotonic() < self._firm_until:
            return
        log.warning("worker %s waits for its lease", self._worker_id)
        while not self._retired and monotonic() >= self._firm_until and not stop.is_set():
            self.got_on()
            self._beat_now.set()
            stop.wait(_LOOK_INTERVAL)
        if self._retired:
            raise WorkerRetired(f"worker {self._worker_id} was given up")

    def _run(self) -> None:
        pause = self._seconds / _BEATS_PER_LEASE
        while not self._closed and not self._retired:
            self._beat_now.wait(pause)
            self._beat_now.clear()
            if self._closed:
                return
            pause = self._seconds / _BEATS_PER_LEASE if self._renew() else self._seconds * _RETRY

    def _renew(self) -> bool:
        """Whether the store took it."""
        got_on = self._got_on
        try:
            alive = self._store.renew_lease(self._worker_id, seconds=self._seconds - (monotonic() - got_on))
        except StoreUnavailable as error:
            metrics.heartbeat_failures.inc()
            log.warning("the lease of worker %s is not renewed: %s", self._worker_id, error.detail)
            return False
        except Exception:
            metrics.heartbeat_failures.inc()
            # This thread must not end for one defect: without it, the worker would wait for its lease for ever.
            log.exception("the lease of worker %s is not renewed", self._worker_id)
            return False
        self._retired = not alive
        self._firm_until = got_on + _FIRM * self._seconds
        return True
