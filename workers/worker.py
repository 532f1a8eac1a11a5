"""One worker: claim → train → report, and nothing else."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from time import monotonic
from typing import TypeVar

import torch

from jobs.curves import Curve
from jobs.errors import JobFailure, LaneLost, OutOfMemory, StoreUnavailable, TimedOut, WorkerError
from jobs.job import Claim, Failure, Progress, Request
from jobs.spec import NeuronSpec
from jobs.store import JobStore
from workers.devices import served_by
from workers.engines import autograd
from workers.engines.report import Report
from workers.experiments.mlp import ImageSets
from workers.loading import Loading

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds between two looks at an empty queue.
IDLE_POLL = 0.1
# Seconds between two writes of a job's progress, at the least.
RECORD_INTERVAL = 0.1
# Seconds to wait before the store is tried again.
STORE_RETRY = 0.5
# Seconds between two looks at what else there is to do while a data set is loaded.
LOOK_INTERVAL = 0.1

ENGINES = {"auto": autograd.NAME, autograd.NAME: autograd.NAME}


class Worker:
    """Trains one job at a time on one device, until it is told to stop."""

    def __init__(
        self,
        store: JobStore,
        *,
        worker_id: str,
        device: str,
        images: Callable[[torch.device], ImageSets],
        stop: threading.Event,
    ) -> None:
        """Prepare a worker.

        Args:
            store: where jobs come from and reports go.
            worker_id: this incarnation, already registered.
            device: "cpu", or "cuda:0" and so on.
            images: gives MNIST on a device; may raise DatasetUnavailable.
            stop: once set, the job in hand goes back to the queue and `run` returns.
        """
        self._store = store
        self._worker_id = worker_id
        self._devices = served_by(device)
        self._images = images
        self._loads: dict[torch.device, Loading[ImageSets]] = {}
        self._stop = stop

    def run(self) -> None:
        """Train job after job; returns when told to stop."""
        claim_next = partial(self._store.claim, self._worker_id, engines=ENGINES, devices=self._devices)
        while not self._stop.is_set():
            claims = self._patiently(claim_next)
            if not claims:
                self._stop.wait(IDLE_POLL)
            for claim in claims:
                self._perform(claim)

    def _perform(self, claim: Claim) -> None:
        log.info("%s: attempt %d on %s", claim.job_id, claim.attempt, claim.device)
        try:
            failure = self._train(claim)
            if failure is not None:
                log.warning("%s: failed, %s: %s", claim.job_id, failure.code, failure)
                self._patiently(partial(self._store.fail, claim, Failure(failure.code, str(failure))))
        except LaneLost as lost:
            log.warning("%s; its result is dropped", lost)

    def _train(self, claim: Claim) -> JobFailure | None:
        """Train to whatever end; a failure is returned once everything before it is recorded."""
        recorder = _Recorder(claim)
        try:
            reports = self._reports(claim, recorder)
            if reports is not None:
                self._follow(reports, claim, recorder)
        except (LaneLost, StoreUnavailable):
            raise
        except JobFailure as error:
            failure: JobFailure = error
        except Exception as error:
            if _is_out_of_memory(error):
                failure = OutOfMemory(f"{claim.device} has too little memory: {error}")
            else:
                # A defect met by one job must not end the worker: the job tells of it, the log has the traceback.
                log.exception("%s: the engine failed", claim.job_id)
                failure = WorkerError(f"{type(error).__name__}: {error}")
        else:
            return None
        self._record(claim, recorder)
        return failure

    def _follow(self, reports: Iterator[Report], claim: Claim, recorder: "_Recorder") -> None:
        """Write down what the engine reports, until it ends, or must end."""
        recorder.start()
        for report in reports:
            recorder.add(report)
            if report.result is not None:
                self._record(claim, recorder)
                self._patiently(partial(self._store.finish, claim, report.result))
                log.info("%s: succeeded after %.1f s", claim.job_id, recorder.elapsed)
                return
            if self._ends_now(claim, recorder):
                return
            if claim.max_runtime_seconds is not None and recorder.elapsed > claim.max_runtime_seconds:
                raise TimedOut(f"still training after {claim.max_runtime_seconds:g} seconds")

    def _ends_now(self, claim: Claim, recorder: "_Recorder") -> bool:
        """Whether the job was to end here, by a signal to this worker or by its client's wish, and now has."""
        if self._stop.is_set():
            self._store.hand_back(claim, reason="handed back by a worker that was told to stop")
            log.info("%s: handed back", claim.job_id)
            return True
        if recorder.is_due and self._record(claim, recorder):
            self._patiently(partial(self._store.confirm_cancel, claim))
            log.info("%s: cancelled on request", claim.job_id)
            return True
        return False

    def _reports(self, claim: Claim, recorder: "_Recorder") -> Iterator[Report] | None:
        """The engine's reports; None if the job had to end while its data set was still being loaded."""
        device = torch.device(claim.device)
        if isinstance(claim.spec, NeuronSpec):
            return autograd.train_neuron(claim.spec, device=device)
        loading = self._loads.setdefault(device, Loading(partial(self._images, device))).begin()
        while True:
            try:
                return autograd.train_mnist(claim.spec, loading.result(timeout=LOOK_INTERVAL), device=device)
            except FutureTimeout:
                if loading.done():  # the loader's own time ran out
                    raise
                if self._ends_now(claim, recorder):
                    return None

    def _record(self, claim: Claim, recorder: "_Recorder") -> bool:
        """Write what is new; True when the job's client has asked to cancel it."""
        progress, curve = recorder.take()
        return self._patiently(partial(self._store.record, claim, progress, curve)) is Request.CANCEL

    def _patiently(self, write: Callable[[], T]) -> T:
        """Try until the store takes it: an outage pauses training, and costs no job anything."""
        while True:
            try:
                return write()
            except StoreUnavailable as error:
                if self._stop.is_set():
                    raise
                log.warning("waiting for the store: %s", error.detail)
                self._stop.wait(STORE_RETRY)


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU torch says it in a plain RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


class _Recorder:
    """What a training has reported and nobody has written yet."""

    def __init__(self, claim: Claim) -> None:
        self._spec = claim.spec
        self._started = self._taken = monotonic()
        self._step = self._epoch = 0
        self._curve = Curve()

    def start(self) -> None:
        """The training starts now: what it waited for before is no part of its time."""
        self._started = monotonic()

    def add(self, report: Report) -> None:
        self._step, self._epoch = report.step, report.epoch
        self._curve = Curve.joined((self._curve, report.curve))

    @property
    def elapsed(self) -> float:
        """Seconds since the training started."""
        return monotonic() - self._started

    @property
    def is_due(self) -> bool:
        return monotonic() - self._taken >= RECORD_INTERVAL

    def take(self) -> tuple[Progress, Curve]:
        """The progress, and the points since the last call."""
        steps = self._spec.total_steps
        eta = self.elapsed / self._step * (steps - self._step) if self._step else None
        curve, self._curve = self._curve, Curve()
        self._taken = monotonic()
        return Progress(self._epoch, self._spec.epochs, self._step, steps, eta), curve
