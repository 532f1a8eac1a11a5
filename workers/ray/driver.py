"""The process of a fleet that is connected to Ray.

It starts workers, replaces those that die and stops idle ones.
"""

import logging
import os
import secrets
import signal
import threading
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.outages import Outage
from costcurve.runtime.parent_process import stop_with_parent
from costcurve.runtime.settings import Settings
from costcurve.store import JobStore
from costcurve.store.database import Database
from workers.devices import served_by
from workers.ray import cluster
from workers.ray.actor import shared_settings
from workers.ray.autoscaling import Idleness, wanted
from workers.ray.cluster import Capacity, Refused, Unreachable
from workers.ray.options import FleetOptions

log = logging.getLogger(__name__)

# Exit codes: LOST if a retry may help, REFUSED if it would not.
LOST = 1
REFUSED = 2
# Seconds between two checks of the queue and the cluster.
LOOK = 1.0
# Seconds within which stopped workers must requeue their jobs and end.
GRACE = 8.0
# Backoff in seconds before a worker that died young is replaced: doubled each time, up to …
BACKOFF = 0.5
BACKOFF_MAX = 30.0
# A worker that lived for this many seconds did not die young.
YOUNG = 60.0
_NO_QUEUE = "the queue cannot be read"


@dataclass
class _RayWorker:
    """A worker of the fleet: its actor and the actor's pending results."""

    name: str
    actor: Any
    has_gpu: bool
    started: float
    placed: Any
    ended: Any
    is_leaving: bool = False


def main(settings: Settings, options: FleetOptions) -> None:
    """Run the fleet until SIGTERM, or until the parent process is gone.

    The exit code is 0, LOST or REFUSED.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing runs yet
    stop_with_parent(stop)
    configure_logging(log_format=settings.log_format, level=settings.log_level)
    code = 0
    try:
        with closing(Database(settings.resolved_database_url)) as database:
            cluster.connect(options)
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            if not _Fleet(JobStore(database), settings, options).run(stop):
                code = LOST
            cluster.disconnect()
    except Refused as refusal:
        log.critical("%s", refusal)
        code = REFUSED
    except (Unreachable, StoreUnavailable) as error:
        log.error("%s", error)  # noqa: TRY400 - an expected error, no defect: the message is enough
        code = LOST
    os._exit(code)


class _Fleet:
    """The workers of this driver."""

    def __init__(self, store: JobStore, settings: Settings, options: FleetOptions) -> None:
        self._store = store
        self._settings = settings
        self._options = options
        self._workers: list[_RayWorker] = []
        self._outage = Outage(log)
        self._idleness = Idleness(options.idle_seconds)
        self._backoff = BACKOFF
        self._not_before = 0.0

    def run(self, stop: threading.Event) -> bool:
        """Manage the workers until `stop` is set, then stop them all.

        Returns:
            True if all workers have ended; False if some did not end within GRACE seconds.
        """
        while not stop.is_set():
            cluster.ensure_shared(self._settings)
            self._handle_exit(self._ended(LOOK))
            self._scale(cluster.capacity(self._options), monotonic())
        return self._stop()

    def _ended(self, seconds: float) -> list[_RayWorker]:
        """Return the workers that ended or were lost within `seconds` seconds."""
        import ray

        if not self._workers:
            sleep(seconds)
            return []
        ended, _ = ray.wait([worker.ended for worker in self._workers], timeout=seconds)
        return [worker for worker in self._workers if worker.ended in ended]

    def _handle_exit(self, ended: list[_RayWorker]) -> None:
        """Clear away ended workers and set when the next may start."""
        import ray

        died_young = False
        for worker in ended:
            try:
                how = f"exit code {ray.get(worker.ended)}"
            except ray.exceptions.ActorUnavailableError:
                worker.ended = worker.actor.wait.remote()  # unreachable at the moment, but perhaps alive
                continue
            except ray.exceptions.RayError as error:  # usually ActorDiedError: its process or node is gone
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                how = " … ".join(dict.fromkeys([lines[0], lines[-1]]))
            self._workers.remove(worker)
            if worker.is_leaving:
                log.info("worker %s has stopped", worker.name)
                continue
            log.error("worker %s ended: %s", worker.name, how)
            died_young |= monotonic() - worker.started < YOUNG
        if died_young:
            self._not_before = monotonic() + self._backoff
            self._backoff = min(2 * self._backoff, BACKOFF_MAX)
        elif ended:
            self._backoff = BACKOFF

    def _scale(self, capacity: Capacity, now: float) -> None:
        """Start workers or stop idle ones to match the queue."""
        most = self._options.max_workers or max(capacity.workers, self._options.min_workers)
        try:
            load = self._store.load(devices=served_by("cuda:0" if capacity.has_gpu else "cpu"), limit=most)
        except StoreUnavailable as error:
            self._outage.failed(_NO_QUEUE, error)
            return
        self._outage.worked(_NO_QUEUE)
        for worker in self._staying():
            if worker.has_gpu != capacity.has_gpu:  # GPUs have joined or left the cluster
                self._stop_worker(worker)
        staying = self._staying()
        busy = {worker.name for worker in staying if any(f"_{worker.name}_" in worker_id for worker_id in load.busy)}
        self._idleness.look([worker.name for worker in staying], busy, now)
        missing = wanted(load, len(busy), least=self._options.min_workers, most=most) - len(staying)
        if missing > 0 and now >= self._not_before:
            for _ in range(missing):
                self._start(capacity, now)
        spare = self._idleness.spare(now)[: max(-missing, 0)]
        for worker in staying:
            if worker.name in spare:
                self._stop_worker(worker)

    def _staying(self) -> list[_RayWorker]:
        return [worker for worker in self._workers if not worker.is_leaving]

    def _start(self, capacity: Capacity, now: float) -> None:
        name = secrets.token_hex(4)
        actor = cluster.place(
            ["--name", name, "--pack", str(self._options.pack)],
            shared_settings(os.environ, self._settings.resolved_database_url),
            has_gpu=capacity.has_gpu,
            options=self._options,
            name=f"worker-{name}",
        )
        self._workers.append(_RayWorker(name, actor, capacity.has_gpu, now, actor.is_up.remote(), actor.wait.remote()))
        log.info("worker %s is started on a %s", name, "GPU" if capacity.has_gpu else "CPU")

    def _stop_worker(self, worker: _RayWorker) -> None:
        """Ask a worker to requeue its jobs and end.

        A worker that Ray has not placed yet is killed at once.
        """
        import ray

        worker.is_leaving = True
        is_placed, _ = ray.wait([worker.placed], timeout=0)
        if is_placed:
            worker.actor.stop.remote()
        else:
            ray.kill(worker.actor)

    def _stop(self) -> bool:
        """Stop all workers in order.

        Returns:
            True if all have ended; False if some did not end within GRACE seconds.
        """
        for worker in self._staying():
            self._stop_worker(worker)
        deadline = monotonic() + GRACE
        while self._workers and monotonic() < deadline:
            self._handle_exit(self._ended(LOOK))
        for worker in self._workers:
            log.warning("worker %s did not end within %g s", worker.name, GRACE)
        return not self._workers
