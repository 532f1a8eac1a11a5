"""One job in a worker's hands: trained chunk by chunk, written down, and brought to whatever end comes."""

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic

import torch

from jobs.curves import Curve
from jobs.errors import JobFailure, LaneLost, OutOfMemory, StoreUnavailable, TimedOut, WorkerError, WorkerRetired
from jobs.job import Claim, Failure, Progress, Request
from jobs.store import JobStore
from workers.checkpoints import Checkpoints, UnusableCheckpoint
from workers.engines.report import Report, Snapshot
from workers.patience import Patience

log = logging.getLogger(__name__)

# Seconds between two writes of a job's progress, at the least.
RECORD_INTERVAL = 0.1
# Seconds of training between two checkpoints, at the least; and how many times longer than writing one takes.
CHECKPOINT_INTERVAL = 1.0
_CHECKPOINT_SHARE = 20

# The engine's reports, from a snapshot on; None while the data set is still being loaded.
Start = Callable[[Claim, Snapshot | None], Iterator[Report] | None]


class Lane:
    """One job, from its claim to its end here. Every lane is claimed, fenced, cancelled and finished by itself."""

    def __init__(
        self,
        claim: Claim,
        *,
        store: JobStore,
        checkpoints: Checkpoints,
        start: Start,
        patiently: Patience,
        stop: threading.Event,
    ) -> None:
        self._claim = claim
        self._store = store
        self._checkpoints = checkpoints
        self._start = start
        self._patiently = patiently
        self._stop = stop
        self._recorder = _Recorder(claim)
        self._checkpoint = claim.checkpoint
        self._snapshot: Snapshot | None = None
        self._is_begun = False
        self._reports: Iterator[Report] | None = None
        self._report: Report | None = None
        self._checkpoint_due = 0.0

    def advance(self) -> bool:
        """Train one chunk, and write it down. False: the job has come to an end here.

        Raises:
            LaneLost: the job is no longer this worker's.
        """
        try:
            return self._advance()
        except (LaneLost, StoreUnavailable, WorkerRetired):
            raise
        except JobFailure as error:
            failure: JobFailure = error
        except Exception as error:
            if _is_out_of_memory(error):
                failure = OutOfMemory(f"{self._claim.device} has too little memory: {error}")
            else:
                # A defect met by one job must not end the worker: the job tells of it, the log has the traceback.
                log.exception("%s: the engine failed", self._claim.job_id)
                failure = WorkerError(f"{type(error).__name__}: {error}")
        log.warning("%s: failed, %s: %s", self._claim.job_id, failure.code, failure)
        self._record()
        self._patiently(partial(self._store.fail, self._claim, Failure(failure.code, str(failure))))
        self._checkpoints.remove_all(self._claim.job_id)
        return False

    def _advance(self) -> bool:
        if not self._is_begun:
            self._begin()
        if self._reports is None:
            self._reports = self._start(self._claim, self._snapshot)
            if self._reports is None:
                return not self._ends_now()
            self._recorder.start()
            self._checkpoint_due = monotonic() + CHECKPOINT_INTERVAL
        self._report = next(self._reports)
        self._recorder.add(self._report)
        if self._report.result is None:
            if self._ends_now():
                return False
            limit = self._claim.max_runtime_seconds
            if limit is not None and self._recorder.elapsed > limit:
                raise TimedOut(f"still training after {limit:g} seconds")
            return True
        self._record()
        self._patiently(partial(self._store.finish, self._claim, self._report.result))
        self._checkpoints.remove_all(self._claim.job_id)
        log.info("%s: succeeded after %.1f s", self._claim.job_id, self._recorder.elapsed)
        return False

    def _begin(self) -> None:
        """Find out where to go on."""
        claim = self._claim
        if claim.checkpoint is not None:
            try:
                self._snapshot = self._checkpoints.load(claim)
            except UnusableCheckpoint as error:
                log.warning("%s: begins anew: %s", claim.job_id, error)
                self._patiently(partial(self._store.restart, claim, why=f"begins anew, as {error}"))
                self._checkpoint = None
            else:
                self._recorder.resume(self._snapshot)
        self._is_begun = True
        log.info("%s: attempt %d on %s", claim.job_id, claim.attempt, claim.device)

    def _ends_now(self) -> bool:
        """Whether the job was to end here, by a signal to this worker or by its client's wish, and now has."""
        if self._stop.is_set():
            self._record(checkpoint=True)
            reason = "handed back by a worker that was told to stop"
            self._patiently(partial(self._store.hand_back, self._claim, reason=reason))
            log.info("%s: handed back", self._claim.job_id)
            return True
        if self._recorder.is_due:
            match self._record(checkpoint=monotonic() >= self._checkpoint_due):
                case Request.CANCEL:
                    self._patiently(partial(self._store.confirm_cancel, self._claim))
                    self._checkpoints.remove_all(self._claim.job_id)
                    log.info("%s: cancelled on request", self._claim.job_id)
                    return True
                case Request.PAUSE:
                    self._record(checkpoint=True)
                    self._patiently(partial(self._store.confirm_pause, self._claim))
                    log.info("%s: paused on request", self._claim.job_id)
                    return True
        return False

    def _record(self, *, checkpoint: bool = False) -> Request | None:
        """Write down what is new, with a checkpoint of exactly this state if one is wanted and can be had."""
        name = self._save() if checkpoint else None
        progress, curve = self._recorder.take()
        request = self._patiently(partial(self._store.record, self._claim, progress, curve, checkpoint=name))
        if name is not None:
            if self._checkpoint is not None and self._checkpoint != name:
                self._checkpoints.remove(self._checkpoint)
            self._checkpoint = name
        return request

    def _save(self) -> str | None:
        """Write a checkpoint; None when there is nothing to keep, or no place for it."""
        if self._report is None or self._report.snapshot is None:
            return None
        started = monotonic()
        try:
            name = self._checkpoints.save(self._claim, self._report.snapshot())
        except OSError as error:
            # Training goes on; if the worker dies, more of it has to be done again.
            log.warning("%s: no checkpoint could be written: %s", self._claim.job_id, error)
            name = None
        took = monotonic() - started
        self._checkpoint_due = monotonic() + max(CHECKPOINT_INTERVAL, _CHECKPOINT_SHARE * took)
        return name


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU torch says it in a plain RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


class _Recorder:
    """What a training has reported and nobody has written yet."""

    def __init__(self, claim: Claim) -> None:
        self._spec = claim.spec
        self._started = self._taken = monotonic()
        self._step = self._epoch = 0
        self._seconds_before = 0.0
        self._curve = Curve()

    def resume(self, snapshot: Snapshot) -> None:
        """The training goes on from there."""
        self._step, self._epoch, self._seconds_before = snapshot.step, snapshot.epoch, snapshot.seconds

    def start(self) -> None:
        """The training starts now: what it waited for before is no part of its time."""
        self._started = monotonic()

    def add(self, report: Report) -> None:
        self._step, self._epoch = report.step, report.epoch
        self._curve = Curve.joined((self._curve, report.curve))

    @property
    def elapsed(self) -> float:
        """Seconds of training, in earlier attempts as well."""
        return self._seconds_before + monotonic() - self._started

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
