"""The supervisor: one worker process for each device, restarted when it dies, stopped in order."""

import logging
import multiprocessing
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic

from jobs.errors import StoreUnavailable
from jobs.settings import Settings
from jobs.store import JobStore
from workers import process

log = logging.getLogger(__name__)

# Seconds that workers have to hand back their jobs, within the five that a SIGTERM may take.
GRACE = 4.0
# Seconds before a worker that died young is started again: doubled each time, from … to.
BACKOFF = (0.5, 30.0)
# A worker that lived for this many seconds did not die young.
YOUNG = 60.0

# Never fork: a forked CUDA context, or a forked thread pool, does not work.
_spawn = multiprocessing.get_context("spawn")


@dataclass
class _Seat:
    """A device's place: the worker process that sits there now, or the moment when the next one may."""

    device: str
    process: SpawnProcess | None = None
    worker_id: str = ""
    started: float = 0.0
    not_before: float = 0.0
    backoff: float = field(default=BACKOFF[0])


class Supervisor:
    """Keeps a worker process on each device until SIGTERM or SIGINT."""

    def __init__(self, store: JobStore, settings: Settings, devices: Sequence[str]) -> None:
        self._store = store
        self._settings = settings
        self._seats = [_Seat(device) for device in devices]
        self._stopping = False
        self._wake, self._waker = os.pipe()

    def run(self) -> None:
        """Supervise; returns once every worker has ended after SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        while not self._stopping:
            for seat in self._seats:
                self._attend(seat)
            wait([self._wake, *self._sentinels()], timeout=self._next_start())
        self._stop()

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True
        os.write(self._waker, b"!")

    def _sentinels(self) -> list[int]:
        return [seat.process.sentinel for seat in self._seats if seat.process is not None]

    def _next_start(self) -> float | None:
        waiting = [seat.not_before - monotonic() for seat in self._seats if seat.process is None]
        return max(min(waiting), 0.0) if waiting else None

    def _attend(self, seat: _Seat) -> None:
        """Clear away a dead worker; start one where none is."""
        if seat.process is not None and not seat.process.is_alive():
            if monotonic() - seat.started > YOUNG:
                seat.backoff = BACKOFF[0]
            log.error(
                "worker %s (pid %s) died, %s; another starts in %.1f s",
                seat.worker_id,
                seat.process.pid,
                _how(seat.process.exitcode),
                seat.backoff,
            )
            self._retire(seat, reason=f"its worker died ({_how(seat.process.exitcode)})", crashed=True)
            seat.process = None
            seat.not_before = monotonic() + seat.backoff
            seat.backoff = min(2 * seat.backoff, BACKOFF[1])
        if seat.process is None and monotonic() >= seat.not_before:
            seat.worker_id = "wrk_" + secrets.token_hex(10)
            seat.started = monotonic()
            seat.process = _spawn.Process(
                target=process.main, args=(seat.worker_id, seat.device, self._settings), name=f"worker-{seat.device}"
            )
            seat.process.start()

    def _stop(self) -> None:
        alive = [seat for seat in self._seats if seat.process is not None]
        for seat in alive:
            if seat.process is not None:
                seat.process.terminate()
        deadline = monotonic() + GRACE
        for seat in alive:
            if seat.process is not None:
                seat.process.join(max(deadline - monotonic(), 0.0))
                if seat.process.is_alive():
                    log.warning("worker %s does not stop in time and is killed", seat.worker_id)
                    seat.process.kill()
                    seat.process.join()
                self._retire(seat, reason="its worker was told to stop", crashed=False)

    def _retire(self, seat: _Seat, *, reason: str, crashed: bool) -> None:
        try:
            self._store.retire_worker(seat.worker_id, reason=reason, crashed=crashed)
        except StoreUnavailable as error:
            log.critical("the jobs of worker %s could not be handed back: %s", seat.worker_id, error.detail)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
