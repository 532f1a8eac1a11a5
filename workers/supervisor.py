"""The supervisor: keeps one worker process in each slot.

It replaces a worker that dies or hangs, and stops all in order.
"""

import logging
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from time import monotonic, sleep

from costcurve.runtime.fork_server import UNKNOWN, ForkedProcess, ForkServer
from costcurve.runtime.outages import Outage
from costcurve.runtime.settings import Settings
from costcurve.store import JobStore
from workers import process
from workers.metrics_server import MetricsServer
from workers.pulse import Pulse, Silence
from workers.stop_signal import StopRequest
from workers.worker_state import WorkerState, new_memory

log = logging.getLogger(__name__)

# Seconds after SIGTERM: the supervisor ends after DEADLINE; workers must have requeued their jobs after GRACE.
DEADLINE = 4.7
GRACE = 4.0
# Seconds before the supervisor retries to requeue the jobs of a dead worker, after the store failed.
RETRY = 0.1
# Backoff in seconds before a worker that died young is started again: doubled each time, up to …
BACKOFF = 0.5
# … if it never became ready: the fault is in this machine and will not pass by itself.
BACKOFF_UNREADY = 30.0
# … if it was ready: a job that kills its workers fails soon, and other jobs wait for this worker.
BACKOFF_READY = 2.0
# A worker that lived for this many seconds did not die young.
YOUNG = 60.0
# Seconds between two checks of the workers' pulses, and before a failed step of the supervisor is retried.
LOOK = 1.0
# Minimum seconds without a pulse after which a worker counts as stopped or hung. The limit is the duration of a lease
# if that is longer: a worker without a pulse cannot renew its lease either.
SILENCE = 5.0
# Seconds that a worker may take to become ready: it loads torch and opens its device, both perhaps over a network.
START = 300.0
# Seconds after SIGKILL within which a process ends, unless the kernel keeps it.
KILL = 10.0
# The same while this supervisor stops.
LAST_KILL = 2.0

# What a worker imports before it trains: the fork server imports it once for all workers. Nothing that imports
# workers/metrics.py: a worker chooses the file of its metrics before they are created.
PRELOADED = ("torch", "workers.engines.fused_cpu", "workers.engines.registry", "workers.process")


@dataclass
class _WorkerSlot:
    """A slot for one worker process on one device.

    It holds the process that runs there now, or the time from which the next may start.
    """

    number: int
    device: str
    process: ForkedProcess | None = None
    worker_id: str = ""
    started: float = 0.0
    not_before: float = 0.0
    backoff: float = BACKOFF
    state: WorkerState | None = None
    # None until the worker is ready: the import of torch holds the interpreter.
    silence: Silence | None = None
    # Why and when this supervisor killed the worker; None if it did not.
    killed_for: str | None = None
    killed_at: float = 0.0


@dataclass(frozen=True)
class _Ended:
    """An ended worker whose jobs, if any, must be requeued."""

    worker_id: str
    reason: str
    crashed: bool


class Supervisor:
    """Keeps a worker process in each slot until SIGTERM, SIGINT or SIGHUP."""

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
            store: to requeue the jobs of dead workers; it should give up within a fraction of a second.
            settings: passed to the workers.
            devices: one worker process for each.
            pack: number of jobs each worker trains at once.
            name: prefix of the workers' ids, by which the program that started this supervisor finds them in the store.
            metrics: exports the workers' metrics; None if they are not exported.
        """
        self._store = store
        self._settings = settings
        self._pack = pack
        self._prefix = "wrk_" if name is None else f"wrk_{name}_"
        self._metrics = metrics
        self._slots = [_WorkerSlot(number, device) for number, device in enumerate(devices)]
        self._unretired: list[_Ended] = []
        # Worker processes that SIGKILL did not end, as the kernel keeps them in a system call.
        self._undead: list[ForkedProcess] = []
        self._fork_server = ForkServer(PRELOADED)
        # Workers stop when this end is closed: with this process.
        self._lifeline, self._life = os.pipe()
        self._pulse = Pulse()
        self._outage = Outage(log)
        self._stop_request = StopRequest()

    def run(self) -> bool:
        """Supervise the workers until a stop signal.

        Returns:
            True after an orderly end; False if a worker that is gone may still hold a job, or did not end.
        """
        self._stop_request.listen()
        try:
            self._pulse.start()
            while not self._stop_request.made:
                try:
                    self._look()
                except Exception:
                    # A defect, or a machine without memory or descriptors: keep supervising the other workers.
                    log.exception("the supervisor could not check its workers; next try in %.1f s", LOOK)
                    wait([self._stop_request.descriptor], timeout=LOOK)
        finally:
            is_orderly = self._stop() and not any(worker.is_alive() for worker in self._undead)
            self._fork_server.kill()
        return is_orderly

    def _look(self) -> None:
        """Check every slot once, then wait for the next event."""
        for slot in self._slots:
            self._attend(slot)
        self._retire_ended()
        wait([self._stop_request.descriptor, *self._sentinels()], timeout=self._next_look())

    def _sentinels(self) -> list[int]:
        return [slot.process.sentinel for slot in self._slots if slot.process is not None]

    def _next_look(self) -> float:
        waiting = [slot.not_before - monotonic() for slot in self._slots if slot.process is None]
        if self._unretired:
            waiting.append(RETRY)
        return max(min([LOOK, *waiting]), 0.0)

    def _attend(self, slot: _WorkerSlot) -> None:
        """Clear away a dead worker, kill a hung one, start one.

        It starts a worker if the slot is empty and its backoff is over.
        """
        if slot.process is not None and not slot.process.is_alive():
            self._handle_exit(slot, slot.process)
        elif slot.process is not None:
            self._watch(slot, slot.process)
        if slot.process is None and monotonic() >= slot.not_before:
            self._start(slot)

    def _start(self, slot: _WorkerSlot) -> None:
        """Start a worker. A failed start counts as a young death."""
        try:
            slot.worker_id = self._prefix + secrets.token_hex(10)
            slot.started = monotonic()
            slot.state = slot.silence = slot.killed_for = None
            metrics_file = self._metrics.file(slot.number) if self._metrics is not None else None
            memory = new_memory()
            try:
                slot.state = WorkerState(memory)
                slot.process = self._fork_server.start(
                    process.main,
                    slot.worker_id,
                    slot.device,
                    self._settings,
                    self._pack,
                    metrics_file,
                    descriptors=[memory, self._lifeline],
                )
            finally:
                os.close(memory)
        except Exception as error:  # noqa: BLE001 - usually an OSError: no descriptors, processes or memory are left
            self._handle_failed_start(slot, error)

    def _handle_failed_start(self, slot: _WorkerSlot, error: Exception) -> None:
        if self._metrics is not None:
            self._metrics.died()
        why = f"{type(error).__name__}: {error}"
        log.error("no worker can be started on %s (%s); next try in %.1f s", slot.device, why, slot.backoff)
        self._back_off(slot, most=BACKOFF_UNREADY)

    def _watch(self, slot: _WorkerSlot, worker: ForkedProcess) -> None:
        """Kill a worker that does not become ready or has no pulse.

        Give up a worker that does not end after SIGKILL.
        """
        if slot.killed_for is not None:
            if monotonic() - slot.killed_at > KILL:
                log.critical("worker %s (pid %s) was killed and does not end", slot.worker_id, worker.pid)
                self._undead.append(worker)
                self._handle_exit(slot, worker)
            return
        limit = max(self._settings.lease_seconds, SILENCE)
        if slot.state is None or not slot.state.is_ready:
            if monotonic() - slot.started > START:
                self._kill(slot, worker, f"it was not ready within {START:g} s")
            return
        if slot.silence is None:
            slot.silence = Silence(slot.state.pulse, self._pulse)
        if slot.silence.seconds > limit:
            self._kill(slot, worker, f"it had no pulse for {limit:g} s: it is suspended or hangs")

    def _kill(self, slot: _WorkerSlot, worker: ForkedProcess, why: str) -> None:
        log.error("worker %s (pid %s) is killed: %s", slot.worker_id, worker.pid, why)
        slot.killed_for, slot.killed_at = why, monotonic()
        worker.kill()

    def _handle_exit(self, slot: _WorkerSlot, dead: ForkedProcess) -> None:
        """Schedule the requeue of a dead worker's jobs and the next start."""
        slot.process = None
        if dead.exitcode == process.RETIRED:
            return
        if dead.error is not None:
            self._handle_failed_start(slot, dead.error)
            return
        how = slot.killed_for if slot.killed_for is not None else _how(dead.exitcode)
        if monotonic() - slot.started > YOUNG:
            slot.backoff = BACKOFF
        log.error("worker %s (pid %s) died, %s; another starts in %.1f s", slot.worker_id, dead.pid, how, slot.backoff)
        if self._metrics is not None:
            self._metrics.died()
        self._unretired.append(_Ended(slot.worker_id, f"its worker died ({how})", crashed=True))
        self._back_off(slot, most=BACKOFF_READY if slot.state is not None and slot.state.is_ready else BACKOFF_UNREADY)

    def _back_off(self, slot: _WorkerSlot, *, most: float) -> None:
        slot.not_before = monotonic() + slot.backoff
        slot.backoff = min(2 * slot.backoff, most)

    def _stop(self) -> bool:
        started = monotonic()
        alive = [(slot.worker_id, slot.process) for slot in self._slots if slot.process is not None]
        for _, worker in alive:
            worker.terminate()
        for worker_id, worker in alive:
            worker.join(max(started + GRACE - monotonic(), 0.0))
            if worker.is_alive():
                log.warning("worker %s did not stop within %.1f s and is killed", worker_id, GRACE)
                worker.kill()
                worker.join(LAST_KILL)
            if worker.is_alive():
                log.critical("worker %s (pid %s) was killed and does not end", worker_id, worker.pid)
                self._undead.append(worker)
            self._unretired.append(_Ended(worker_id, "its worker was stopped", crashed=False))
        self._retire_ended()
        while self._unretired and monotonic() < started + DEADLINE:
            sleep(0.1)
            self._retire_ended()
        return not self._unretired

    def _retire_ended(self) -> None:
        """Requeue the jobs of ended workers; keep the failures for a retry."""
        left = []
        for ended in self._unretired:
            what = f"the jobs of worker {ended.worker_id} are not requeued yet"
            try:
                self._store.retire_worker(ended.worker_id, reason=ended.reason, crashed=ended.crashed)
            except Exception as error:  # noqa: BLE001 - what is not an outage is logged with its traceback
                self._outage.failed(what, error)
                left.append(ended)
            else:
                self._outage.worked(what)
        self._unretired = left


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    if exit_code == UNKNOWN:
        return "with the fork server"
    return f"exit code {exit_code}"
