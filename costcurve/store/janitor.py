"""The janitor: each process on a store reaps workers and purges jobs."""

import logging
import threading
from datetime import datetime, timedelta
from time import monotonic

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.outages import Outage
from costcurve.store import JobStore

log = logging.getLogger(__name__)

# Checks for dead workers per lease duration.
_LOOKS_PER_LEASE = 10
# Longest gap between two checks, as a share of a lease, after which this process still trusts expired leases.
_BLIND = 0.3
# Seconds between two purges.
_PURGE_INTERVAL = 600.0
# Seconds between two transactions of a purge, or the duration of the last one if that was longer. A writer that waits
# for SQLite's lock tries every 0.1 s, and would otherwise find it taken each time.
_PURGE_PAUSE = 0.1
_JANITOR_FAILED = "the janitor failed"


class Janitor:
    """A background thread that reaps dead workers and purges old jobs.

    It checks ten times per lease duration: once a second by default. An expired lease does not prove that its worker
    died: if the database was unavailable or this machine slept, no worker could renew. So a process retires workers
    only after it has reached the store without a gap for the duration of a lease.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        name: str,
        lease_seconds: float,
        retention_days: float | None,
        outage: Outage | None = None,
    ) -> None:
        """Prepare the thread; `start` runs it, `look` checks once.

        Args:
            store: the store to maintain.
            name: the actor that the jobs' events name.
            lease_seconds: duration of a lease in seconds.
            retention_days: jobs that ended more days ago are deleted; None to keep all.
            outage: logs failed checks; the process's other threads may share it.
        """
        self._store = store
        self._name = name
        self._lease = timedelta(seconds=lease_seconds)
        self._interval = lease_seconds / _LOOKS_PER_LEASE
        self._retention_days = retention_days
        self._outage = outage if outage is not None else Outage(log)
        self._purged_at: float | None = None
        self._in_touch_since: datetime | None = None
        self._last_look: datetime | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after its current step; return at once."""
        self._stop.set()

    def look(self) -> None:
        """Check the store once and reap dead workers. Raises StoreUnavailable."""
        try:
            now = self._store.touch()
            if self._last_look is None or not timedelta() <= now - self._last_look <= _BLIND * self._lease:
                self._in_touch_since = now
            self._last_look = now
            if self._in_touch_since is not None and now - self._in_touch_since >= self._lease:
                for worker_id in self._store.reap(by=self._name):
                    log.warning("worker %s did not renew its lease; its jobs were requeued", worker_id)
        except StoreUnavailable:
            self._last_look = None
            raise

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.look()
                self._purge()
            except Exception as error:  # noqa: BLE001 - logged; without this thread, jobs of dead workers would wait
                self._outage.failed(_JANITOR_FAILED, error)
            else:
                self._outage.worked(_JANITOR_FAILED)

    def _purge(self) -> None:
        if self._retention_days is None:
            return
        if self._purged_at is not None and monotonic() - self._purged_at < _PURGE_INTERVAL:
            return
        until, deleted = monotonic() + self._interval, 0
        while not self._stop.is_set() and monotonic() < until:  # the rest waits until dead workers are reaped
            started = monotonic()
            count = self._store.purge(days=self._retention_days)
            if count == 0:
                self._purged_at = monotonic()
                break
            deleted += count
            self._stop.wait(max(monotonic() - started, _PURGE_PAUSE))
        if deleted:
            log.info("deleted %d jobs that ended more than %g days ago", deleted, self._retention_days)
