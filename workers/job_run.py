"""One job in a worker: its training and what to write."""

import errno
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from time import monotonic
from typing import Literal

import torch

from costcurve.core.curve import Curve
from costcurve.core.errors import ClaimLost, JobFailure, OutOfMemory, TimedOut, WorkerError
from costcurve.core.job import Claim, Failure, MnistResult, NeuronResult, Progress, Request
from costcurve.runtime import logging as logs
from costcurve.runtime.outages import Outage
from costcurve.store.job_update import HandBack, JobOutcome, JobUpdate, Restart
from workers.checkpoints import Checkpoints, UnusableCheckpoint, model_of
from workers.engines.base import Report, Snapshot, UnusableSnapshot
from workers.memory_room import MemoryRoom
from workers.training.evaluation import FinalNetwork

log = logging.getLogger(__name__)

# How a job may leave a worker.
Outcome = Literal["succeeded", "failed", "cancelled", "paused", "handed_back", "lost"]

# Pause between two writes of a job's progress: at least RECORD_INTERVAL seconds, _RECORD_SHARE times the duration of
# the last write if that is longer, but at most _RECORD_INTERVAL_MAX seconds, so that requests are seen in time.
RECORD_INTERVAL = 0.1
_RECORD_SHARE = 20
_RECORD_INTERVAL_MAX = 0.3
# Minimum seconds between two checkpoints of a job. After a checkpoint, the worker writes no other, of any job, for
# _CHECKPOINT_SHARE times as long as it took.
CHECKPOINT_INTERVAL = 1.0
_CHECKPOINT_SHARE = 20
# Seconds in which a stopping worker writes last checkpoints; its supervisor waits for 4 s.
_LAST_CHECKPOINTS = 2.0
_NO_CHECKPOINT = "no checkpoint could be written"
# Parts of the messages of plain RuntimeErrors, raised by torch on the CPU and by CUDA's libraries.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class WriteBudget:
    """Limits store writes and checkpoints to about 5 % of the time.

    One budget covers all jobs of a worker.
    """

    def __init__(self) -> None:
        # Logs that checkpoints cannot be written.
        self.outage = Outage(log)
        # Seconds between two writes of a job's progress.
        self.record_interval = RECORD_INTERVAL
        self._free_at = 0.0
        self._ends_at: float | None = None

    def recorded(self, seconds: float) -> None:
        """Set the pause between writes from the duration of the last.

        Args:
            seconds: duration of the writes to the store in one round.
        """
        self.record_interval = max(RECORD_INTERVAL, min(_RECORD_SHARE * seconds, _RECORD_INTERVAL_MAX))

    def allows(self) -> bool:
        """Return True if another checkpoint may be written now."""
        return monotonic() >= self._free_at

    def allows_last(self) -> bool:
        """Return True if a stopping worker has time for another checkpoint.

        A job without a new one resumes from an earlier one.
        """
        if self._ends_at is None:
            self._ends_at = monotonic() + _LAST_CHECKPOINTS
        return monotonic() < self._ends_at

    def spent(self, seconds: float) -> None:
        """Record that a checkpoint took this many seconds to write."""
        self._free_at = monotonic() + _CHECKPOINT_SHARE * seconds


class JobRun:
    """One job in this worker, from its claim to its end.

    It decides what to write, but writes nothing to the store itself. The worker applies each returned JobUpdate,
    together with those of its other jobs. Then it calls `written`.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        checkpoints: Checkpoints,
        write_budget: WriteBudget,
        room: MemoryRoom,
        stop: threading.Event,
    ) -> None:
        self.claim = claim
        # Number of jobs trained at once, including this one.
        self.pack_size = 1
        # Set by `begin`: the state from which the job resumes; None for step 0.
        self.snapshot: Snapshot | None = None
        # Set once the job is over.
        self.outcome: Outcome | None = None
        # Fields of every log line about the job.
        self.log_fields = {"job_id": claim.job_id, "attempt": claim.attempt}
        if claim.sweep_id is not None:
            self.log_fields["sweep_id"] = claim.sweep_id
        # Steps written since the last `take_steps`, and the last step written.
        self._written_steps = self._written_to = 0
        self._checkpoints = checkpoints
        self._write_budget = write_budget
        self._room = room
        self._stop = stop
        self._recorder = _Recorder(claim)
        self._checkpoint = claim.checkpoint
        self._checkpoint_due = 0.0
        self._reports: Iterator[Report] | None = None
        self._report: Report | None = None
        self._cannot_start: Exception | None = None

    @property
    def is_started(self) -> bool:
        """True once an engine trains the job or has refused it."""
        return self._reports is not None or self._cannot_start is not None

    @property
    def is_over(self) -> bool:
        """True once this worker has nothing left to do for the job."""
        return self.outcome is not None

    @property
    def elapsed(self) -> float:
        """Seconds of training, including those of earlier attempts."""
        return self._recorder.elapsed

    def take_steps(self) -> int:
        """Return the number of steps written since the last call."""
        steps, self._written_steps = self._written_steps, 0
        return steps

    def begin(self) -> JobUpdate | None:
        """Load the checkpoint, if the claim has one.

        Return the update to write, if the checkpoint is unusable.
        """
        return self._or_fail(self._begin)

    def start(self, reports: Iterator[Report]) -> None:
        """Train by these reports of an engine.

        Until this call, the job waits for its data set.
        """
        self._reports = reports
        self._recorder.start()
        self._checkpoint_due = monotonic() + CHECKPOINT_INTERVAL

    def cannot_start(self, error: Exception) -> None:
        """Record that training cannot begin; the job fails with this error."""
        self._cannot_start = error

    def advance(self) -> JobUpdate | None:
        """Train one chunk. Return the update to write now, if any."""
        return self._or_fail(self._advance)

    def written(self, write: JobUpdate, answer: Request | ClaimLost | None) -> JobUpdate | None:
        """Apply the store's answer to an update.

        Return the next update if the answer requires one at once.
        """
        with logs.bound(self.log_fields):
            return self._written(write, answer)

    def _written(self, write: JobUpdate, answer: Request | ClaimLost | None) -> JobUpdate | None:
        if isinstance(answer, ClaimLost):
            log.warning("%s; its result is dropped", answer, extra={"outcome": "lost"})
            self._end("lost")
            return None
        if write.progress is not None:
            self._written_steps += write.progress.step - self._written_to
            self._written_to = write.progress.step
        if write.checkpoint is not None:
            if self._checkpoint is not None and self._checkpoint != write.checkpoint:
                self._checkpoints.remove(self._checkpoint)
            self._checkpoint = write.checkpoint
        outcome: Outcome
        match write.outcome:
            case None | Restart():
                if answer is Request.PAUSE:
                    return self._write(checkpoint=True, outcome=answer)
                return self._write(outcome=answer) if answer is Request.CANCEL else None
            case HandBack():
                outcome = "handed_back"
            case Request.PAUSE:
                outcome = "paused"
            case Request.CANCEL:
                outcome = "cancelled"
            case Failure():
                outcome = "failed"
            case _:
                outcome = "succeeded"
        seconds = round(self.elapsed, 3)
        text = outcome.replace("_", " ")
        level = logging.INFO
        if isinstance(write.outcome, Failure):
            level, text = logging.WARNING, f"failed, {write.outcome.code}: {write.outcome.message},"
        log.log(level, "%s after %.1f s", text, seconds, extra={"outcome": outcome, "seconds": seconds})
        if outcome not in ("handed_back", "paused"):
            self._checkpoints.remove_all(self.claim.job_id)
        self._end(outcome)
        return None

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._reports = None  # an engine stops training a job once its iterator of reports is dropped

    def _or_fail(self, work: Callable[[], JobUpdate | None]) -> JobUpdate | None:
        with logs.bound(self.log_fields):
            return self._attempt(work)

    def _attempt(self, work: Callable[[], JobUpdate | None]) -> JobUpdate | None:
        try:
            return work()
        except JobFailure as error:
            failure: JobFailure = error
        except UnusableSnapshot as error:
            return self._restart(f"training cannot resume from its checkpoint: {error}")
        except Exception as error:
            if _is_out_of_memory(error) and self.pack_size > 1:
                most = self._room.exceeded(self.claim, self.pack_size)
                why = f"{self.pack_size} jobs at once needed more memory than {self.claim.device} has"
                return self._write(outcome=HandBack(f"requeued, as {why}; the next try is {most} at once"))
            if _is_out_of_memory(error):
                failure = OutOfMemory(f"{self.claim.device} has too little memory: {error}")
            else:
                # A defect met by one job must not end the worker: the job has the message, the log the traceback.
                log.exception("the engine failed")
                failure = WorkerError(f"{type(error).__name__}: {error}")
        return self._write(outcome=Failure(failure.code, str(failure)))

    def _begin(self) -> JobUpdate | None:
        claim = self.claim
        problem = None
        if claim.checkpoint is not None:
            try:
                self.snapshot = self._checkpoints.load(claim)
            except UnusableCheckpoint as error:
                problem = str(error)
        step = self.snapshot.step if self.snapshot is not None else 0
        log.info(
            "attempt %d with %s on %s%s",
            *(claim.attempt, claim.engine, claim.device),
            f", resumed from step {step}" if step else "",
            extra={"engine": claim.engine, "device": claim.device, "step": step},
        )
        if problem is not None:
            return self._restart(problem)
        if self.snapshot is not None:
            self._recorder.resume(self.snapshot)
            self._written_to = step
        return None

    def _restart(self, problem: str) -> JobUpdate:
        """Restart training from step 0, as the checkpoint is unusable.

        An engine must be started again first.
        """
        log.warning("restarts from step 0: %s", problem)
        self.snapshot = self._checkpoint = self._reports = self._report = None
        self._recorder = _Recorder(self.claim)
        self._written_to = 0
        return JobUpdate(self.claim, outcome=Restart(f"restarted from step 0: {problem}"))

    def _advance(self) -> JobUpdate | None:
        if self._cannot_start is not None:
            raise self._cannot_start
        if self._reports is not None:
            self._report = next(self._reports)
            self._recorder.add(self._report)
            if self._report.result is not None:
                return self._write_result(self._report.result, self._report.final)
        if self._stop.is_set():
            reason = "requeued, as its worker was stopped"
            return self._write(checkpoint=self._write_budget.allows_last(), outcome=HandBack(reason))
        limit = self.claim.max_runtime_seconds
        if self._reports is not None and limit is not None and self._recorder.elapsed > limit:
            raise TimedOut(f"training took longer than its max_runtime_seconds, {limit:g}")
        if self._recorder.waited >= self._write_budget.record_interval:
            return self._write(checkpoint=monotonic() >= self._checkpoint_due and self._write_budget.allows())
        return None

    def _write(self, *, checkpoint: bool = False, outcome: JobOutcome | None = None) -> JobUpdate:
        """Return an update with everything new since the last one.

        Args:
            checkpoint: add a checkpoint of exactly this state, if one can be written.
            outcome: how the job leaves this worker; None while it continues.
        """
        name = self._save() if checkpoint else None
        return replace(self._recorder.take(), checkpoint=name, outcome=outcome)

    def _write_result(self, result: NeuronResult | MnistResult, final: FinalNetwork | None) -> JobUpdate:
        """Return the last update, with the network if there is one."""
        write = self._write(outcome=result)
        if final is None or not isinstance(result, MnistResult):
            return write
        return replace(write, model=model_of(self.claim, result, final))

    def _save(self) -> str | None:
        """Write a checkpoint and return its name.

        Return None if there is nothing to save or it cannot be written.
        """
        if self._report is None or self._report.snapshot is None:
            return None
        started = monotonic()
        try:
            name = self._checkpoints.save(self.claim, self._report.snapshot())
        except OSError as error:
            # Training continues; if the worker dies, more of it has to be repeated.
            self._write_budget.outage.failed(_NO_CHECKPOINT, error)
            name = None
        else:
            self._write_budget.outage.worked(_NO_CHECKPOINT)
        self._write_budget.spent(monotonic() - started)
        self._checkpoint_due = monotonic() + CHECKPOINT_INTERVAL
        return name


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


class _Recorder:
    """Progress that a training has reported and the store lacks."""

    def __init__(self, claim: Claim) -> None:
        self._claim, self._spec = claim, claim.spec
        self._started = self._taken = monotonic()
        self._step = self._epoch = 0
        self._seconds_before = 0.0
        self._curve = self._steps = Curve()
        self._start: Mapping[str, float] | None = None

    def resume(self, snapshot: Snapshot) -> None:
        """Continue counting from this snapshot."""
        self._step, self._epoch, self._seconds_before = snapshot.step, snapshot.epoch, snapshot.seconds

    def start(self) -> None:
        """Start the clock: waiting before this call is no training time."""
        self._started = monotonic()

    def add(self, report: Report) -> None:
        self._step, self._epoch = report.step, report.epoch
        self._curve = Curve.joined((self._curve, report.curve))
        self._steps = Curve.joined((self._steps, report.steps))
        self._start = report.start or self._start

    @property
    def elapsed(self) -> float:
        """Seconds of training, including those of earlier attempts."""
        return self._seconds_before + monotonic() - self._started

    @property
    def waited(self) -> float:
        """Seconds since the last `take`."""
        return monotonic() - self._taken

    def take(self) -> JobUpdate:
        """Return the progress and everything new since the last call."""
        steps = self._spec.total_steps
        eta = self.elapsed / self._step * (steps - self._step) if self._step else None
        progress = Progress(self._epoch, self._spec.epochs, self._step, steps, eta)
        news = JobUpdate(self._claim, progress, self._curve, steps=self._steps, start=self._start)
        self._curve = self._steps = Curve()
        self._start = None
        self._taken = monotonic()
        return news
