"""The store's methods for trials: sweeps that test one change of a job's spec."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from costcurve.analysis.trial_figures import COURSE_METRICS, measures_of, run_of
from costcurve.analysis.trial_verdict import Measure, Run, Verdict, verdict_of
from costcurve.core.curve import Curve, decode
from costcurve.core.errors import (
    Diverged,
    IdempotencyKeyReused,
    JobNotFound,
    StartNotFinite,
    TrialNotExtendable,
    invalid_fields,
)
from costcurve.core.spec import AnySpec, restored
from costcurve.core.status import JobStatus
from costcurve.core.sweep import Sweep, planned
from costcurve.core.trial import (
    AS_IT_IS,
    CHANGED,
    Proposal,
    TrialRequest,
    is_deterministic,
    trial_submission,
)
from costcurve.core.validation import FieldError
from costcurve.store.admission import Asked
from costcurve.store.base import strip_nul
from costcurve.store.row_mapping import job_of, sweep_rows
from costcurve.store.schema import curve_runs, jobs, sweeps, trials
from costcurve.store.sweeps import (
    ForSweeps,
    SubmittedSweep,
    as_submitted,
    cost_of,
    new_sweep_id,
    submitted_by,
    values_of,
)

_DIVERGED = frozenset({Diverged.code, StartNotFinite.code})
_NO_RUN = Run(None)
# Most points of all curves of a trial that are read to judge its course: 55 MB of a network's metrics.
_MOST_POINTS = 200_000


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial of one finding; `verdict` is None until all of its jobs have ended."""

    sweep_id: str
    finding: str | None
    verdict: Verdict | None


class ForTrials(ForSweeps):
    """Store methods for trials, which clients call through the service."""

    def submit_trial(
        self,
        job_id: str,
        request: TrialRequest,
        proposal: Callable[[], Proposal],
        *,
        idempotency_key: str | None = None,
    ) -> SubmittedSweep:
        """Queue a job's spec as it is and changed, with the same seeds.

        Args:
            job_id: the job.
            request: the client's request.
            proposal: returns the change to test; called outside of a transaction, and not if the key was used before.
            idempotency_key: as for `submit_sweep`.

        Raises:
            JobNotFound: there is no such job.
            InvalidRequest: the change does not fit the job's spec.
            IdempotencyKeyReused: the key has come with another request.
        """
        sent = {"of": job_id, **request.model_dump(mode="json")}
        if idempotency_key is not None:
            with self._read() as tx:
                if (first := _first_answer(tx, self._is_own(sweeps), idempotency_key, sent)) is not None:
                    return SubmittedSweep(first, replayed=True)
        proposed = proposal()
        try:
            return self._submit_trial(job_id, request, proposed, idempotency_key, sent)
        except IntegrityError:
            # A concurrent request with the same key was faster: return its response.
            return self._submit_trial(job_id, request, proposed, idempotency_key, sent)

    def _submit_trial(
        self, job_id: str, request: TrialRequest, proposed: Proposal, key: str | None, sent: Mapping[str, Any]
    ) -> SubmittedSweep:
        sweep_id = new_sweep_id()
        with self._database.write() as tx:
            if key is not None and (first := _first_answer(tx, self._is_own(sweeps), key, sent)) is not None:
                return SubmittedSweep(first, replayed=True)
            row = tx.execute(select(jobs).where(self._is_own(jobs), jobs.c.id == strip_nul(job_id))).one_or_none()
            if row is None:
                raise JobNotFound(f"there is no job {job_id!a}")
            asked = {"engine": row.requested_engine, "device": row.requested_device}
            submission = trial_submission(job_of(row, {}), asked, proposed, request.repeats)
            new = planned(submission)
            # Priority and runtime are the job's, which were admitted with it.
            self._queue_sweep(tx, sweep_id, submission, values_of(sweep_id, new), Asked(cost=cost_of(new)), key)
            tx.execute(
                insert(trials).values(
                    sweep_id=sweep_id,
                    job_id=row.id,
                    finding=proposed.finding,
                    request=sent,
                    first_repeats=submission.repeats,
                    looks=request.looks,
                    look=1,
                )
            )
            return SubmittedSweep(self._sweep(tx, sweep_id), replayed=False)

    def extend_trial(self, sweep_id: str, repeats: int) -> Sweep:
        """Queue further seeds of an ended trial, up to this number of repeats.

        Each extension is another look at the verdict. A trial that has this number already is left as it is.

        Raises:
            SweepNotFound: there is no such sweep.
            TrialNotExtendable: the sweep is no trial, has not ended, or has been looked at as often as planned.
            InvalidRequest: the trial has more repeats already.
        """
        with self._database.write() as tx:
            self._lock_sweep(tx, sweep_id)
            sweep = self._sweep(tx, sweep_id)
            has = sweep.submission.repeats
            if sweep.trial is not None and repeats == has:
                return sweep
            _ensure_extendable(sweep)
            if repeats < has:
                raise invalid_fields([FieldError("/repeats", f"must be at least {has}, which the trial has")])
            submission = sweep.submission.model_copy(update={"repeats": repeats})
            new = [job for job in planned(submission) if job.repeat >= has]
            values, asked = values_of(sweep.id, new), Asked(cost=cost_of(new))
            cause = self._by_client(tx, submitted_by(sweep.id))
            self._enqueue(tx, values, cause, asked, priority=submission.priority)
            tx.execute(
                update(sweeps).where(sweeps.c.id == sweep.id).values(submission=submission.model_dump(mode="json"))
            )
            tx.execute(update(trials).where(trials.c.sweep_id == sweep.id).values(look=trials.c.look + 1))
            return self._sweep(tx, sweep.id)

    def verdict(self, sweep: Sweep) -> Verdict | None:
        """Return the verdict of a sweep; None if it is no trial, or has not ended."""
        if sweep.trial is None or not sweep.is_terminal:
            return None
        with self._read() as tx:
            found = _trials(tx, self._is_own(sweeps), trials.c.sweep_id == sweep.id)
        return found[0].verdict if found else None

    def trials(self, job_id: str) -> Sequence[Trial]:
        """Return all trials of a job, the oldest first."""
        with self._read() as tx:
            return _trials(tx, self._is_own(sweeps), trials.c.job_id == strip_nul(job_id))


def _ensure_extendable(sweep: Sweep) -> None:
    """Raise TrialNotExtendable unless the sweep is an ended trial that may be looked at again."""
    if sweep.trial is None:
        raise TrialNotExtendable(f"the sweep {sweep.id} is no trial")
    if not sweep.is_terminal:
        raise TrialNotExtendable(f"the trial {sweep.id} has not ended; extend it after its verdict")
    if sweep.trial.look >= sweep.trial.looks:
        raise TrialNotExtendable(
            f"the trial {sweep.id} was planned for {sweep.trial.looks} looks and has had {sweep.trial.look}; another "
            "look would err more often than its interval says. Submit a new trial with more repeats or looks"
        )


def _first_answer(tx: Connection, own: ColumnElement[bool], key: str, sent: Mapping[str, Any]) -> Sweep | None:
    """Return the trial made with this key, as the first response showed it; None if the key is new.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    made = sweep_rows.add_columns(trials.c.request, trials.c.first_repeats)
    found = tx.execute(made.where(own, sweeps.c.idempotency_key == key)).one_or_none()
    if found is None:
        return None
    if found.request != sent:
        raise IdempotencyKeyReused("this idempotency key belongs to another request; use a new key for a new trial")
    return as_submitted(found, found.first_repeats)


def _trials(tx: Connection, *which: ColumnElement[bool]) -> list[Trial]:
    """Return the trials that meet all conditions, the oldest first.

    It takes one statement, and another one for the curves of the trials that have ended.
    """
    columns = [jobs.c.pk, jobs.c.cell, jobs.c.repeat, jobs.c.status, jobs.c.spec, jobs.c.result, jobs.c.error_code]
    found = (
        select(trials.c.sweep_id, trials.c.finding, trials.c.looks, *columns)
        .join(sweeps, sweeps.c.id == trials.c.sweep_id)
        .join(jobs, jobs.c.sweep_id == trials.c.sweep_id)
        .where(*which, ~jobs.c.superseded)
        .order_by(sweeps.c.pk, jobs.c.pk)
    )
    by_sweep: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in tx.execute(found):
        by_sweep[row.sweep_id].append(row)
    ended = {sweep_id: _Ended.of(rows) for sweep_id, rows in by_sweep.items() if _has_ended(rows)}
    curves = _curves(tx, [sweep_id for sweep_id, trial in ended.items() if trial.is_course_judged])
    verdicts = {sweep_id: trial.verdict(curves) for sweep_id, trial in ended.items()}
    return [Trial(sweep_id, rows[0].finding, verdicts.get(sweep_id)) for sweep_id, rows in by_sweep.items()]


def _curves(tx: Connection, sweep_ids: Sequence[str]) -> dict[int, Curve]:
    """Return the metric whose course is judged, of all jobs of these sweeps that have succeeded, by the job's pk."""
    if not sweep_ids:
        return {}
    found = (
        select(curve_runs, jobs.c.experiment)
        .join(jobs, jobs.c.pk == curve_runs.c.job_pk)
        .where(jobs.c.sweep_id.in_(sweep_ids), ~jobs.c.superseded, jobs.c.status == JobStatus.SUCCEEDED)
    )
    chunks: dict[int, list[Curve]] = defaultdict(list)
    for row in tx.execute(found):
        columns = decode(row.data, start=row.first_x, metrics=row.metrics.split(",")).series
        kept = {name: values for name, values in columns.items() if name == COURSE_METRICS[row.experiment]}
        chunks[row.job_pk].append(Curve(row.first_x, kept))
    return {pk: Curve.joined(sorted(own, key=lambda chunk: chunk.start)) for pk, own in chunks.items()}


def _has_ended(rows: Sequence[Row[Any]]) -> bool:
    return all(JobStatus(row.status).is_terminal for row in rows)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A trial whose jobs have all ended, with the spec of each of its cells."""

    rows: Sequence[Row[Any]]
    specs: Mapping[int, AnySpec]
    end: Measure
    course: Measure | None

    @classmethod
    def of(cls, rows: Sequence[Row[Any]]) -> "_Ended":
        """Return the trial of these jobs.

        Its course is not judged if its curves have too many points to be read for it.
        """
        specs = {row.cell: restored(row.spec) for row in rows}
        first = next(iter(specs.values()))
        end, course = measures_of(specs.get(AS_IT_IS, first), specs.get(CHANGED, first))
        points = sum(specs[row.cell].epochs for row in rows)
        return cls(rows, specs, end, course if points <= _MOST_POINTS else None)

    @property
    def is_course_judged(self) -> bool:
        """True if the verdict needs the curves of the jobs."""
        return self.course is not None

    def verdict(self, curves: Mapping[int, Curve]) -> Verdict:
        """Return the verdict, with the curves of the jobs by pk."""
        runs: dict[int, dict[int, Run]] = defaultdict(dict)
        for row in self.rows:
            runs[row.repeat][row.cell] = _run(row, self.specs[row.cell], curves.get(row.pk))
        pairs = [(each.get(AS_IT_IS, _NO_RUN), each.get(CHANGED, _NO_RUN)) for each in runs.values()]
        return verdict_of(
            pairs,
            self.end,
            self.course,
            is_deterministic=is_deterministic(*self.specs.values()),
            looks=self.rows[0].looks,
        )


def _run(row: Row[Any], spec: AnySpec, curve: Curve | None) -> Run:
    if row.error_code in _DIVERGED:
        return Run(None, has_diverged=True)
    return _NO_RUN if row.result is None else run_of(spec, row.result, curve)
