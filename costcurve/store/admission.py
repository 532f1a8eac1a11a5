"""Admission: a project's limits on what it queues.

Every method that queues jobs asks here first, in the transaction that queues them. A project whose limit is None has
none. A repeated idempotency key is answered before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from costcurve.core.access import ProjectLimits
from costcurve.core.errors import QuotaExceeded, SubmissionTooLarge, invalid_fields
from costcurve.core.estimate import estimate, stored_bytes
from costcurve.core.spec import AnySpec
from costcurve.core.validation import FieldError
from costcurve.store.base import OnDatabase
from costcurve.store.enqueue import Values, enqueue
from costcurve.store.queue import count_of_project
from costcurve.store.schema import projects
from costcurve.store.transitions import EventInfo

# Seconds after which a client may try again: when a queued job ends is not known.
_RETRY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Cost:
    """Estimated cost of a submission on one core."""

    seconds: float
    bytes: int

    @classmethod
    def of(cls, specs: Sequence[AnySpec]) -> "Cost":
        """Return the estimated cost of training these specs."""
        return cls(sum(estimate(spec).seconds for spec in specs), sum(map(stored_bytes, specs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Request of a client to queue jobs, as the limits see it.

    `cost` is None for jobs that were admitted before, such as those of a retry. `priority` and `runtime` are those that
    the client chose; both are None if it did not choose them now. `cells` is None unless a sweep is submitted;
    `cells_at` points to the field that makes them.
    """

    cost: Cost | None = None
    priority: int | None = None
    runtime: float | None = None
    cells: int | None = None
    cells_at: str = "/grid"


class Queueing(OnDatabase):
    """Base of the parts of the store that queue jobs."""

    def _enqueue(
        self, tx: Connection, values: Sequence[Values], cause: EventInfo, asked: Asked, *, priority: int
    ) -> Sequence[int]:
        """Queue jobs of the caller's project, as `enqueue` does, if `admit` allows it; return their pks."""
        project_pk = self._caller.project_pk
        admit(tx, project_pk, limits_of(tx, project_pk, self._default_limits), asked, values)
        return enqueue(tx, values, cause, project_pk=project_pk, priority=priority)


def limits_of(tx: Connection, project_pk: int, defaults: ProjectLimits) -> ProjectLimits:
    """Return the limits of a project: its own, and the defaults where it has none."""
    own = tx.execute(select(projects.c.limits).where(projects.c.pk == project_pk)).scalar_one()
    return defaults.model_copy(update=own)


def admit(tx: Connection, project_pk: int, limits: ProjectLimits, asked: Asked, values: Sequence[Values]) -> None:
    """Raise an error unless the project may queue these jobs, and give them the project's longest runtime.

    Of two submissions at once, the second waits for the first if the project's queued jobs are limited.

    Raises:
        InvalidRequest: the cells, the priority or the runtime exceeds its limit.
        SubmissionTooLarge: the jobs would exceed a limit even if nothing else were queued.
        QuotaExceeded: too many jobs of the project are queued.
    """
    ensure_priority(limits, asked.priority)
    _ensure_fields(limits, asked)
    _ensure_cost(limits, asked.cost)
    _ensure_queued(tx, project_pk, limits.queued_jobs, len(values))
    for each in values:
        if each["max_runtime_seconds"] is None:
            each["max_runtime_seconds"] = limits.max_runtime_seconds


def ensure_priority(limits: ProjectLimits, priority: int | None) -> None:
    """Raise InvalidRequest if a client has chosen a priority above the project's highest."""
    if limits.priority is not None and priority is not None and priority > limits.priority:
        text = f"must be at most {limits.priority}, the highest priority of your project, not {priority}"
        raise invalid_fields([FieldError("/priority", text)])


def _ensure_fields(limits: ProjectLimits, asked: Asked) -> None:
    most, longest = limits.sweep_cells, limits.max_runtime_seconds
    if most is not None and asked.cells is not None and asked.cells > most:
        text = f"the sweep has {asked.cells:,} cells; a sweep of your project may have at most {most:,}"
        raise invalid_fields([FieldError(asked.cells_at, text)])
    if longest is not None and asked.runtime is not None and asked.runtime > longest:
        text = f"must be at most {longest:g}, the longest runtime of your project, not {asked.runtime:g}"
        raise invalid_fields([FieldError("/max_runtime_seconds", text)])


def _ensure_cost(limits: ProjectLimits, cost: Cost | None) -> None:
    if cost is None:
        return
    if limits.submission_seconds is not None and cost.seconds > limits.submission_seconds:
        raise SubmissionTooLarge(
            f"training is estimated to take {cost.seconds:,.0f} seconds on one core; a submission of your project may "
            f"take at most {limits.submission_seconds:,.0f}"
        )
    if limits.submission_bytes is not None and cost.bytes > limits.submission_bytes:
        raise SubmissionTooLarge(
            f"curves and models are estimated to take {cost.bytes:,} bytes; a submission of your project may take at "
            f"most {limits.submission_bytes:,}"
        )


def _ensure_queued(tx: Connection, project_pk: int, most: int | None, new: int) -> None:
    if most is None:
        return
    if new > most:
        raise SubmissionTooLarge(f"these are {new:,} jobs; your project may have at most {most:,} queued at once")
    # Locked until the jobs are queued, so that two submissions do not both take the last place.
    tx.execute(select(projects.c.pk).where(projects.c.pk == project_pk).with_for_update())
    queued = count_of_project(tx, project_pk)
    if queued + new > most:
        text = (
            f"your project has {queued:,} of at most {most:,} jobs queued, and these are {new:,} more; try again later"
        )
        raise QuotaExceeded(text, headers={"Retry-After": str(_RETRY_SECONDS)})
