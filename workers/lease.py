"""A worker's lease on all its running jobs.

A thread renews it while training progresses.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from costcurve.core.errors import WorkerRetired
from costcurve.runtime.outages import Outage
from costcurve.store import JobStore
from workers import metrics

log = logging.getLogger(__name__)

# Renewals during one lease.
_BEATS_PER_LEASE = 5
# Share of a lease after which a worker that could not renew it pauses, well before others may take over.
_FIRM = 0.7
# Share of a lease after which a failed renewal is retried.
_RETRY = 0.05
# Seconds between two checks while a worker waits for its lease.
_LOOK_INTERVAL = 0.05
# Seconds within which the main thread of a retired worker must end the process.
LAST_SECONDS = 2.0


class Lease:
    """A worker's lease, renewed in a thread.

    It decides whether the worker may continue. A renewal counts from the last moment at which training progressed, not
    from the moment it is made. So a worker whose device hangs loses its lease like one that died.
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
        """Prepare the lease of a worker that was just registered.

        Args:
            store: holds the lease.
            worker_id: the incarnation that holds it.
            seconds: duration of the lease.
            outage: logs failed renewals; may be shared with the worker's other threads.
            if_hung: called from the lease's thread if this worker is retired and does not `stop` within two seconds.
        """
        self._store = store
        self._worker_id = worker_id
        self._seconds = seconds
        self._progressed_at = monotonic()
        self._firm_until = self._progressed_at + _FIRM * seconds
        self._retired = False
        self._beat_now = threading.Event()
        self._closed = threading.Event()
        self._if_hung = if_hung
        self._outage = outage if outage is not None else Outage(log)
        self._not_renewed = f"the lease of worker {worker_id} is not renewed"
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Start the thread that renews the lease."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing the lease."""
        self._closed.set()
        self._beat_now.set()

    def mark_progress(self) -> None:
        """Record that training has progressed, or that there is nothing to train."""
        self._progressed_at = monotonic()

    def ensure(self, stop: threading.Event) -> None:
        """Return when the lease is firm, or when `stop` is set.

        This is at once, unless renewals failed.

        Raises:
            WorkerRetired: the lease is lost for good.
        """
        if not self._retired and monotonic() < self._firm_until:
            return
        log.warning("worker %s pauses until its lease is renewed", self._worker_id)
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
        # The main thread sees this in `ensure`, unless it hangs in a device, a file system or a library call.
        if self._retired and self._if_hung is not None and not self._closed.wait(LAST_SECONDS):
            self._if_hung()

    def _renew(self) -> bool:
        """Renew the lease; return True if the store answered."""
        progressed_at = self._progressed_at
        try:
            alive = self._store.renew_lease(self._worker_id, seconds=self._seconds - (monotonic() - progressed_at))
        except Exception as error:  # noqa: BLE001 - logged; without this thread, the worker would wait for ever
            metrics.heartbeat_failures.inc()
            self._outage.failed(self._not_renewed, error)
            return False
        self._outage.worked(self._not_renewed)
        self._retired = not alive
        self._firm_until = progressed_at + _FIRM * self._seconds
        return True
