"""The supervisor: one worker process for each device, restarted when it dies, stopped in order."""

import logging
import multiprocessing
import secrets
import signal
from collections.abc import Sequence
from ctypes import c_bool
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawValue
from time import monotonic, sleep

from jobs.errors import StoreUnavailable
from jobs.settings import Settings
from jobs.store import JobStore
from workers import process
from workers.metrics_files import MetricsServer
from workers.stopping import StopRequest

log = logging.getLogger(__name__)

# Seconds after SIGTERM by which all is over, and by which workers must have handed back their jobs themselves.
DEADLINE = 4.7
GRACE = 4.0
# Seconds before the jobs of a dead worker are handed back again, when the store did not take it.
RETRY = 0.1
# Seconds before a worker that died young is started again: doubled each time, up to …
BACKOFF = 0.5
# … if it could never train: something is wrong here that will not pass by itself.
BACKOFF_UNREADY = 30.0
# … if it could: a job that kills its workers is failed soon, and others wait for this one.
BACKOFF_READY = 2.0
# A worker that lived for this many seconds did not die young.
YOUNG = 60.0

# Never fork: a forked CUDA context, or a forked thread pool, does not work.
_spawn = multiprocessing.get_context("spawn")


@dataclass
class _Seat:
    """A device's place: the worker process that sits there now, or the moment when the next one may."""

    number: int
    device: str
    process: SpawnProcess | None = None
    worker_id: str = ""
    started: float = 0.0
    not_before: float = 0.0
    backoff: float = BACKOFF
    # Without a lock: a worker may be killed at any moment, with the lock in its hands.
    ready: c_bool = field(default_factory=lambda: RawValue(c_bool, False))


@dataclass(frozen=True)
class _Ended:
    """A worker that has ended and whose jobs, if any, must go back to the queue."""

    worker_id: str
    reason: str
    crashed: bool


class Supervisor:
    """Keeps a worker process on each device until SIGTERM, SIGINT or SIGHUP."""

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        devices: Sequence[str],
        *,
        pack: int = 1,
        name: str | None = None,
        metrics: MetricsServer | None = None,
    ) -> None:
        """Prepare a supervisor.

        Args:
            store: to hand back what dead workers held; it should give up within a fraction of a second.
            settings: for the workers.
            devices: one worker process for each.
            pack: how many jobs each worker trains at once.
            name: with which the workers' ids begin, so that whoever started this supervisor knows them in the store.
            metrics: serves what the workers count, if anybody does.
        """
        self._store = store
        self._settings = settings
        self._pack = pack
        self._prefix = "wrk_" if name is None else f"wrk_{name}_"
        self._metrics = metrics
        self._seats = [_Seat(number, device) for number, device in enumerate(devices)]
        self._unretired: list[_Ended] = []
        self._stop_request = StopRequest()

    def run(self) -> bool:
        """Supervise until told to stop. False: a job may still be held by a worker that is gone."""
        self._stop_request.listen()
        while not self._stop_request.made:
            for seat in self._seats:
                self._attend(seat)
            self._retire_ended()
            wait([self._stop_request.descriptor, *self._sentinels()], timeout=self._next_look())
        return self._stop()

    def _sentinels(self) -> list[int]:
        return [seat.process.sentinel for seat in self._seats if seat.process is not None]

    def _next_look(self) -> float | None:
        waiting = [seat.not_before - monotonic() for seat in self._seats if seat.process is None]
        if self._unretired:
            waiting.append(RETRY)
        return max(min(waiting), 0.0) if waiting else None

    def _attend(self, seat: _Seat) -> None:
        """Clear away a dead worker; start one where none is."""
        if seat.process is not None and not seat.process.is_alive():
            self._bury(seat, seat.process)
        if seat.process is None and monotonic() >= seat.not_before:
            seat.worker_id = self._prefix + secrets.token_hex(10)
            seat.started = monotonic()
            seat.ready = RawValue(c_bool, False)
            metrics_file = self._metrics.file(seat.number) if self._metrics is not None else None
            seat.process = _spawn.Process(
                target=process.main,
                args=(seat.worker_id, seat.device, self._settings, self._pack, seat.ready, metrics_file),
                name=f"worker-{seat.device}",
            )
            seat.process.start()

    def _bury(self, seat: _Seat, dead: SpawnProcess) -> None:
        """Give back what a dead worker held, and say when the next may start."""
        seat.process = None
        if dead.exitcode == process.RETIRED:
            return
        if monotonic() - seat.started > YOUNG:
            seat.backoff = BACKOFF
        how = _how(dead.exitcode)
        log.error("worker %s (pid %s) died, %s; another starts in %.1f s", seat.worker_id, dead.pid, how, seat.backoff)
        if self._metrics is not None:
            self._metrics.died()
        self._unretired.append(_Ended(seat.worker_id, f"its worker died ({how})", crashed=True))
        seat.not_before = monotonic() + seat.backoff
        seat.backoff = min(2 * seat.backoff, BACKOFF_READY if seat.ready.value else BACKOFF_UNREADY)

    def _stop(self) -> bool:
        started = monotonic()
        alive = [(seat.worker_id, seat.process) for seat in self._seats if seat.process is not None]
        for _, worker in alive:
            worker.terminate()
        for worker_id, worker in alive:
            worker.join(max(started + GRACE - monotonic(), 0.0))
            if worker.is_alive():
                log.warning("worker %s does not stop in time and is killed", worker_id)
                worker.kill()
                worker.join()
            self._unretired.append(_Ended(worker_id, "its worker was told to stop", crashed=False))
        self._retire_ended()
        while self._unretired and monotonic() < started + DEADLINE:
            sleep(0.1)
            self._retire_ended()
        return not self._unretired

    def _retire_ended(self) -> None:
        """Hand back what ended workers held; what the store does not take now is tried again later."""
        left = []
        for ended in self._unretired:
            try:
                self._store.retire_worker(ended.worker_id, reason=ended.reason, crashed=ended.crashed)
            except StoreUnavailable as error:
                log.warning("the jobs of worker %s are not handed back yet: %s", ended.worker_id, error.detail)
                left.append(ended)
        self._unretired = left


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
