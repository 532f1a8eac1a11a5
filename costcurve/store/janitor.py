"""What every living program on a store does on the side: give the jobs of dead workers to others, forget old jobs."""

import logging
import threading
from datetime import datetime, timedelta
from time import monotonic

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.outages import Outage
from costcurve.store import JobStore

log = logging.getLogger(__name__)

# Looks for dead workers in the time of one lease.
_LOOKS_PER_LEASE = 10
# Share of a lease for which this program may lose sight of the store before it doubts what it sees there.
_BLIND = 0.3
# Seconds between two looks for jobs whose time of retention is over.
_PURGE_INTERVAL = 600.0
# Seconds between two transactions that delete jobs, or as long as the last one took, if that was longer. A writer that
# waits for SQLite's lock looks for it every 0.1 s, and would otherwise find it taken each time.
_PURGE_PAUSE = 0.1
_NO_UPKEEP = "no upkeep now"


class Janitor:
    """Looks after the store about once a second, in a thread of its own.

    A lease that ran out is no proof that its worker died: if the database was away, or this machine slept, nobody could
    renew anything. So workers are only given up by a program that has itself been in touch with the store, without a
    gap, for as long as a lease lasts.
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
        """Prepare the upkeep.

        Args:
            store: the store to look after.
            name: who does it, as the jobs' events tell it.
            lease_seconds: how long a lease lasts.
            retention_days: jobs that ended longer ago are deleted; None to keep them.
            outage: where failed looks are told; the program's other threads may share it.
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
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns at once."""
        self._stop.set()

    def look(self) -> None:
        """Look once. Raises StoreUnavailable."""
        try:
            now = self._store.touch()
            if self._last_look is None or not timedelta() <= now - self._last_look <= _BLIND * self._lease:
                self._in_touch_since = now
            self._last_look = now
            if self._in_touch_since is not None and now - self._in_touch_since >= self._lease:
                for worker_id in self._store.reap(by=self._name):
                    log.warning("worker %s was no longer heard from; its jobs are back in the queue", worker_id)
        except StoreUnavailable:
            self._last_look = None
            raise

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.look()
                self._purge()
            except Exception as error:  # noqa: BLE001 - told of; without this thread, jobs of dead workers would wait
                self._outage.failed(_NO_UPKEEP, error)
            else:
                self._outage.worked(_NO_UPKEEP)

    def _purge(self) -> None:
        if self._retention_days is None:
            return
        if self._purged_at is not None and monotonic() - self._purged_at < _PURGE_INTERVAL:
            return
        until, deleted = monotonic() + self._interval, 0
        while not self._stop.is_set() and monotonic() < until:  # the rest has time until workers have been looked after
            started = monotonic()
            count = self._store.purge(days=self._retention_days)
            if count == 0:
                self._purged_at = monotonic()
                break
            deleted += count
            self._stop.wait(max(monotonic() - started, _PURGE_PAUSE))
        if deleted:
            log.info("%d jobs were deleted, as they ended more than %g days ago", deleted, self._retention_days)
