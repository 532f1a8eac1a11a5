"""One job in a worker's hands: what becomes of it, chunk by chunk, and what of that is to be written down."""

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

# What may become of a job in a worker's hands.
Outcome = Literal["succeeded", "failed", "cancelled", "paused", "handed_back", "lost"]

# Seconds between two writes of a job's progress, at the least; how many times longer than the last write took, where
# that is more; and at the most, so that requests are heard of in time.
RECORD_INTERVAL = 0.1
_RECORD_SHARE = 20
_SELDOM = 0.3
# Seconds of training between two checkpoints of a job, at the least; and how many times longer than writing one takes
# the worker then writes no other, of whatever job.
CHECKPOINT_INTERVAL = 1.0
_CHECKPOINT_SHARE = 20
# Seconds that a worker that is to end takes for checkpoints; its supervisor waits for four.
_LAST_CHECKPOINTS = 2.0
_NO_CHECKPOINT = "no checkpoint could be written"
# In the texts of plain RuntimeErrors, by torch on the CPU and by CUDA's libraries.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class WriteBudget:
    """Sees to it that what a worker writes, of all that it has in hand together, takes a small share of its time."""

    def __init__(self) -> None:
        # Where it is told that checkpoints cannot be written.
        self.outage = Outage(log)
        # Seconds between two writes of a job's progress.
        self.record_interval = RECORD_INTERVAL
        self._free_at = 0.0
        self._ends_at: float | None = None

    def recorded(self, seconds: float) -> None:
        """What was to be written in a round has been written to the store, which took so long."""
        self.record_interval = max(RECORD_INTERVAL, min(_RECORD_SHARE * seconds, _SELDOM))

    def allows(self) -> bool:
        """Whether one more checkpoint may be written now."""
        return monotonic() >= self._free_at

    def allows_last(self) -> bool:
        """Whether a worker that is to end has the time for one more. A job without goes on from an earlier one."""
        if self._ends_at is None:
            self._ends_at = monotonic() + _LAST_CHECKPOINTS
        return monotonic() < self._ends_at

    def spent(self, seconds: float) -> None:
        """A checkpoint has been written."""
        self._free_at = monotonic() + _CHECKPOINT_SHARE * seconds


class JobRun:
    """One job in this worker, from its claim to its end. Decides what to write, and writes nothing to the store itself.

    The worker applies each JobUpdate that it returns, together with those of its other jobs, and then calls `written`.
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
        # Jobs that are trained at once, this one included.
        self.company = 1
        # Where it goes on, once it has begun; None for the beginning.
        self.snapshot: Snapshot | None = None
        # What became of it, once it is over.
        self.outcome: Outcome | None = None
        # What every line of the log about it says.
        self.log_fields = {"job_id": claim.job_id, "attempt": claim.attempt}
        if claim.sweep_id is not None:
            self.log_fields["sweep_id"] = claim.sweep_id
        # Steps that have been written since somebody asked, and the step up to which that is so.
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
        """Whether an engine trains it, or has refused to."""
        return self._reports is not None or self._cannot_start is not None

    @property
    def is_over(self) -> bool:
        """Whether this worker has nothing to do with it any more."""
        return self.outcome is not None

    @property
    def elapsed(self) -> float:
        """Seconds of training, in earlier attempts as well."""
        return self._recorder.elapsed

    def take_steps(self) -> int:
        """The steps of training that have been written since the last call."""
        steps, self._written_steps = self._written_steps, 0
        return steps

    def begin(self) -> JobUpdate | None:
        """Find out where to go on."""
        return self._or_fail(self._begin)

    def start(self, reports: Iterator[Report]) -> None:
        """Train by these reports of an engine; until then, the job waits for its data set."""
        self._reports = reports
        self._recorder.start()
        self._checkpoint_due = monotonic() + CHECKPOINT_INTERVAL

    def cannot_start(self, error: Exception) -> None:
        """Training cannot even begin: the job fails of this."""
        self._cannot_start = error

    def advance(self) -> JobUpdate | None:
        """Train one chunk. What is to be written down now, if anything."""
        return self._or_fail(self._advance)

    def written(self, write: JobUpdate, answer: Request | ClaimLost | None) -> JobUpdate | None:
        """The store has this write, and gave that answer. What is to be written at once because of it, if anything."""
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
        self._reports = None  # an engine stops training a job whose reports are dropped

    def _or_fail(self, work: Callable[[], JobUpdate | None]) -> JobUpdate | None:
        with logs.bound(self.log_fields):
            return self._attempt(work)

    def _attempt(self, work: Callable[[], JobUpdate | None]) -> JobUpdate | None:
        try:
            return work()
        except JobFailure as error:
            failure: JobFailure = error
        except UnusableSnapshot as error:
            return self._begin_anew(f"training cannot go on from its checkpoint: {error}")
        except Exception as error:
            if _is_out_of_memory(error) and self.company > 1:
                most = self._room.exceeded(self.claim, self.company)
                why = f"{self.company} jobs at once needed more memory than {self.claim.device} has"
                return self._write(outcome=HandBack(f"handed back, as {why}; {most} are tried next"))
            if _is_out_of_memory(error):
                failure = OutOfMemory(f"{self.claim.device} has too little memory: {error}")
            else:
                # A defect met by one job must not end the worker: the job tells of it, the log has the traceback.
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
            return self._begin_anew(problem)
        if self.snapshot is not None:
            self._recorder.resume(self.snapshot)
            self._written_to = step
        return None

    def _begin_anew(self, problem: str) -> JobUpdate:
        """Train from the beginning, once an engine is started again, as the checkpoint is of no use."""
        log.warning("begins anew: %s", problem)
        self.snapshot = self._checkpoint = self._reports = self._report = None
        self._recorder = _Recorder(self.claim)
        self._written_to = 0
        return JobUpdate(self.claim, outcome=Restart(f"begins anew, as {problem}"))

    def _advance(self) -> JobUpdate | None:
        if self._cannot_start is not None:
            raise self._cannot_start
        if self._reports is not None:
            self._report = next(self._reports)
            self._recorder.add(self._report)
            if self._report.result is not None:
                return self._write_result(self._report.result, self._report.final)
        if self._stop.is_set():
            reason = "handed back by a worker that was told to stop"
            return self._write(checkpoint=self._write_budget.allows_last(), outcome=HandBack(reason))
        limit = self.claim.max_runtime_seconds
        if self._reports is not None and limit is not None and self._recorder.elapsed > limit:
            raise TimedOut(f"still training after {limit:g} seconds")
        if self._recorder.waited >= self._write_budget.record_interval:
            return self._write(checkpoint=monotonic() >= self._checkpoint_due and self._write_budget.allows())
        return None

    def _write(self, *, checkpoint: bool = False, outcome: JobOutcome | None = None) -> JobUpdate:
        """All that is new, with a checkpoint of exactly this state if one is wanted and can be had."""
        name = self._save() if checkpoint else None
        return replace(self._recorder.take(), checkpoint=name, outcome=outcome)

    def _write_result(self, result: NeuronResult | MnistResult, final: FinalNetwork | None) -> JobUpdate:
        """The end of the training, and the network to keep, if it is one."""
        write = self._write(outcome=result)
        if final is None or not isinstance(result, MnistResult):
            return write
        return replace(write, model=model_of(self.claim, result, final))

    def _save(self) -> str | None:
        """Write a checkpoint; None when there is nothing to keep, or no place for it."""
        if self._report is None or self._report.snapshot is None:
            return None
        started = monotonic()
        try:
            name = self._checkpoints.save(self.claim, self._report.snapshot())
        except OSError as error:
            # Training goes on; if the worker dies, more of it has to be done again.
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
    """What a training has reported and nobody has written yet."""

    def __init__(self, claim: Claim) -> None:
        self._claim, self._spec = claim, claim.spec
        self._started = self._taken = monotonic()
        self._step = self._epoch = 0
        self._seconds_before = 0.0
        self._curve = self._steps = Curve()
        self._start: Mapping[str, float] | None = None

    def resume(self, snapshot: Snapshot) -> None:
        """The training goes on from there."""
        self._step, self._epoch, self._seconds_before = snapshot.step, snapshot.epoch, snapshot.seconds

    def start(self) -> None:
        """The training starts now: what it waited for before is no part of its time."""
        self._started = monotonic()

    def add(self, report: Report) -> None:
        self._step, self._epoch = report.step, report.epoch
        self._curve = Curve.joined((self._curve, report.curve))
        self._steps = Curve.joined((self._steps, report.steps))
        self._start = report.start or self._start

    @property
    def elapsed(self) -> float:
        """Seconds of training, in earlier attempts as well."""
        return self._seconds_before + monotonic() - self._started

    @property
    def waited(self) -> float:
        """Seconds since something was taken."""
        return monotonic() - self._taken

    def take(self) -> JobUpdate:
        """The progress, and all that is new since the last call."""
        steps = self._spec.total_steps
        eta = self.elapsed / self._step * (steps - self._step) if self._step else None
        progress = Progress(self._epoch, self._spec.epochs, self._step, steps, eta)
        news = JobUpdate(self._claim, progress, self._curve, steps=self._steps, start=self._start)
        self._curve = self._steps = Curve()
        self._start = None
        self._taken = monotonic()
        return news
