"""The worker's loop: claim jobs, train them, report."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from time import monotonic

import torch

from costcurve.core.errors import ClaimLost, DatasetUnavailable
from costcurve.core.job import Claim, Request
from costcurve.core.spec import MnistSpec
from costcurve.runtime import logging as logs
from costcurve.runtime.outages import Outage
from costcurve.store import JobStore
from costcurve.store.job_update import JobUpdate
from workers import metrics
from workers.background_load import Loading
from workers.checkpoints import Checkpoints
from workers.devices import served_by
from workers.engines import registry
from workers.engines.base import REPORT_INTERVAL
from workers.job_run import JobRun, WriteBudget
from workers.lease import Lease
from workers.memory_room import MemoryRoom
from workers.store_retry import StoreRetry
from workers.training.network import ImageSets

log = logging.getLogger(__name__)

# Seconds between two polls of an empty queue.
IDLE_POLL = 0.05
# Seconds to wait for a data set before the worker checks for requests and its lease again.
LOOK_INTERVAL = 0.1
# Seconds that loading a data set may take: 11 MB, perhaps over a slow line, perhaps from the third source tried.
LOAD_LIMIT = 1800.0
# Limits of one write transaction, so that other writers are not blocked: jobs, and bytes of models before the last one.
WRITES_AT_ONCE = 256
MODEL_BYTES_AT_ONCE = 4 << 20


class Worker:
    """A worker on one device, which runs until stopped.

    It trains one job, or one pack of jobs, at a time.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        worker_id: str,
        device: str,
        images: Callable[[torch.device], ImageSets],
        checkpoints: Checkpoints,
        lease: Lease,
        stop: threading.Event,
        pack: int = 1,
        outage: Outage | None = None,
    ) -> None:
        """Prepare a worker.

        Args:
            store: source of jobs and target of updates.
            worker_id: this incarnation, already registered.
            device: "cpu", or "cuda:0" and so on.
            images: returns MNIST on a device; may raise DatasetUnavailable.
            checkpoints: reads and writes checkpoints.
            lease: the incarnation's lease, already started.
            stop: once set, the running jobs return to the queue and `run` returns.
            pack: number of jobs of the same shape to train at once, with an engine that trains them in turns.
            outage: logs that the store is unavailable; may be shared with the worker's other threads.
        """
        self._store = store
        self._worker_id = worker_id
        self._engines = ["auto", *registry.available(device)]
        self._room = MemoryRoom(partial(registry.select_engine, pack=pack))
        self._devices = served_by(device)
        self._images = images
        self._loads: dict[torch.device, Loading[ImageSets]] = {}
        self._checkpoints = checkpoints
        self._lease = lease
        self._patiently = StoreRetry(stop, lease, outage if outage is not None else Outage(log))
        self._stop = stop
        self._write_budget = WriteBudget()

    def run(self) -> None:
        """Train job after job until `stop` is set.

        Raises:
            StoreUnavailable: `stop` was set, and the store did not take back the running jobs.
            WorkerRetired: the lease was lost; other workers may have the jobs now.
        """
        claim_next = partial(
            self._store.claim,
            self._worker_id,
            engines=self._engines,
            devices=self._devices,
            choose=self._room.choose,
        )
        while not self._stop.is_set():
            self._lease.mark_progress()
            self._lease.ensure(self._stop)
            claims = self._patiently(claim_next)
            if claims:
                metrics.claimed(claims)
                self._train(claims)
            else:
                self._stop.wait(IDLE_POLL)

    def _train(self, claims: Sequence[Claim]) -> None:
        """Train the claimed jobs chunk by chunk, each to its end.

        Their updates are written together.
        """
        job_runs = [
            JobRun(
                claim, checkpoints=self._checkpoints, write_budget=self._write_budget, room=self._room, stop=self._stop
            )
            for claim in claims
        ]
        with logs.bound(job_runs[0].log_fields if len(job_runs) == 1 else {"jobs": len(job_runs)}):
            job_runs = self._round(job_runs, JobRun.begin)
            while job_runs:
                if unstarted := [job_run for job_run in job_runs if not job_run.is_started]:
                    self._start(unstarted)
                job_runs = self._round(job_runs, JobRun.advance)

    def _round(self, job_runs: Sequence[JobRun], step: Callable[[JobRun], JobUpdate | None]) -> list[JobRun]:
        """Advance each job by one step and write the updates.

        Return the jobs that are not over.
        """
        writes = []
        for job_run in job_runs:
            self._lease.ensure(self._stop)
            job_run.pack_size = len(job_runs)
            write = step(job_run)
            if write is not None:
                writes.append((job_run, write))
            self._lease.mark_progress()
        started, is_written = monotonic(), bool(writes)
        while writes:
            count = _together([write for _, write in writes])
            part, writes = writes[:count], writes[count:]
            answers = self._patiently(partial(self._write, [write for _, write in part]))
            self._lease.mark_progress()
            for (job_run, write), answer in zip(part, answers, strict=True):
                if (following := job_run.written(write, answer)) is not None:
                    writes.append((job_run, following))
            metrics.written([job_run for job_run, _ in part])
        if is_written:
            self._write_budget.recorded(monotonic() - started)
        return [job_run for job_run in job_runs if not job_run.is_over]

    def _write(self, writes: Sequence[JobUpdate]) -> Sequence[Request | ClaimLost | None]:
        with metrics.store_write.time():
            return self._store.write(writes)

    def _start(self, job_runs: Sequence[JobRun]) -> None:
        """Start the jobs unless their data set is still loading."""
        device = torch.device(job_runs[0].claim.device)
        images = None
        try:
            if isinstance(job_runs[0].claim.spec, MnistSpec):
                images = self._loaded(device)
                if images is None:
                    return
            for engine in {job_run.claim.engine for job_run in job_runs}:
                group = [job_run for job_run in job_runs if job_run.claim.engine == engine]
                specs, resumes = [job_run.claim.spec for job_run in group], [job_run.snapshot for job_run in group]
                reports = registry.start(
                    engine, specs, resumes, device=device, images=images, report_interval=REPORT_INTERVAL
                )
                for job_run, each in zip(group, reports, strict=True):
                    job_run.start(each)
        except Exception as error:  # noqa: BLE001 - each job run reports it
            for job_run in job_runs:
                job_run.cannot_start(error)

    def _loaded(self, device: torch.device) -> ImageSets | None:
        """Return MNIST on a device; None while it is still loading."""
        loading = self._loads.setdefault(device, Loading(partial(self._images, device))).begin()
        try:
            return loading.result(timeout=LOOK_INTERVAL)
        except FutureTimeout:
            if loading.done():  # a timeout raised by the loader itself
                raise
            if self._loads[device].seconds > LOAD_LIMIT:
                del self._loads[device]  # for the next job, another thread loads it
                raise DatasetUnavailable(
                    f"MNIST was not loaded within {LOAD_LIMIT / 60:g} minutes; COSTCURVE_DATA_DIR, or the cache, may "
                    "be on a file server that does not answer"
                ) from None
            return None


def _together(writes: Sequence[JobUpdate]) -> int:
    """Return how many of these updates go into one transaction."""
    size = 0
    for count, write in enumerate(writes[:WRITES_AT_ONCE]):
        if size > MODEL_BYTES_AT_ONCE:
            return count
        size += len(write.model.file) if write.model is not None else 0
    return min(len(writes), WRITES_AT_ONCE)
