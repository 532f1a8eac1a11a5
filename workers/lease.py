"""A worker's lease on everything that it has in hand, renewed by a thread for as long as training gets on."""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from costcurve.core.errors import WorkerRetired
from costcurve.runtime.outages import Outage
from costcurve.store import JobStore
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
# Seconds that the main thread of a retired worker has to end the process.
LAST_SECONDS = 2.0


class Lease:
    """Says whether this worker may go on.

    A renewal counts from the last moment at which training got on, not from the moment it is made: a worker whose
    device hangs loses its lease like one that died.
    """

    def __init__(
        self,
        store: JobStore,
        worker_id: str,
        *,
        seconds: float,
        outage: Outage | None = None,
        if_hung: Callable[[], None] | None = None,
    ) -> None:
        """The lease of a worker that has just been registered.

        Args:
            store: where the lease is.
            worker_id: the incarnation that holds it.
            seconds: how long it lasts.
            outage: where failed renewals are told; the worker's other threads may share it.
            if_hung: called from the lease's thread if this worker is retired and does not `stop` within two seconds.
        """
        self._store = store
        self._worker_id = worker_id
        self._seconds = seconds
        self._got_on = monotonic()
        self._firm_until = self._got_on + _FIRM * seconds
        self._retired = False
        self._beat_now = threading.Event()
        self._closed = threading.Event()
        self._if_hung = if_hung
        self._outage = outage if outage is not None else Outage(log)
        self._not_renewed = f"the lease of worker {worker_id} is not renewed"
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to renew it."""
        self._thread.start()

    def stop(self) -> None:
        """Renew it no more."""
        self._closed.set()
        self._beat_now.set()

    def mark_progress(self) -> None:
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
            self.mark_progress()
            self._beat_now.set()
            stop.wait(_LOOK_INTERVAL)
        if self._retired:
            raise WorkerRetired(f"worker {self._worker_id} was given up")

    def _run(self) -> None:
        pause = self._seconds / _BEATS_PER_LEASE
        while not self._closed.is_set() and not self._retired:
            self._beat_now.wait(pause)
            self._beat_now.clear()
            if self._closed.is_set():
                return
            pause = self._seconds / _BEATS_PER_LEASE if self._renew() else self._seconds * _RETRY
        # The main thread learns of it in `ensure`, unless it hangs: in a device, a file system, a call of a library.
        if self._retired and self._if_hung is not None and not self._closed.wait(LAST_SECONDS):
            self._if_hung()

    def _renew(self) -> bool:
        """Whether the store took it."""
        got_on = self._got_on
        try:
            alive = self._store.renew_lease(self._worker_id, seconds=self._seconds - (monotonic() - got_on))
        except Exception as error:  # noqa: BLE001 - told of; without this thread, the worker would wait for ever
            metrics.heartbeat_failures.inc()
            self._outage.failed(self._not_renewed, error)
            return False
        self._outage.worked(self._not_renewed)
        self._retired = not alive
        self._firm_until = got_on + _FIRM * self._seconds
        return True
