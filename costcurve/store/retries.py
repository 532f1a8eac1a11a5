"""Retries: a new job counts in place of a sweep's failed job.

The new job has the same cell and repeat. The failed job stays as it is.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from costcurve.core.placement import STORED_BY_NAME
from costcurve.core.submission import Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.store.enqueue import Values, job_values
from costcurve.store.row_mapping import spec_of
from costcurve.store.schema import jobs
from costcurve.store.transitions import EventInfo, change_all, event, write_events


def retry_values(row: Row[Any], sweep: SweepSubmission) -> Values:
    """Return the columns of a new job that retries a sweep's job."""
    # Validated when it was submitted: today's limits do not apply.
    submission = Submission.model_construct(
        spec=spec_of(row),
        device=row.requested_device,
        engine=row.requested_engine,
        **{name: getattr(sweep, name) for name in STORED_BY_NAME},
    )
    place = {"sweep_id": row.sweep_id, "cell": row.cell, "repeat": row.repeat}
    return job_values(submission, parent_id=row.id, inherits_tags=True, **place)


def supersede(tx: Connection, rows: Sequence[Row[Any]], new_ids: Sequence[str], cause: EventInfo) -> None:
    """Mark each job as superseded by the new job in its place."""
    change_all(tx, [(row.pk, {"superseded": True}) for row in rows])
    write_events(
        tx,
        [
            event(row.pk, EventInfo(cause.by, cause.at, f"retried as {new_id}"), source=row.status, target=row.status)
            for row, new_id in zip(rows, new_ids, strict=True)
        ],
    )


def revive(tx: Connection, deleted: Sequence[Row[Any]]) -> None:
    """Unmark the newest job of each deleted job's cell and repeat.

    It is no longer superseded and counts again. The deleted jobs, given by their former rows, belonged to sweeps.
    """
    left = jobs.alias()
    place = [left.c[name] == bindparam(f"its_{name}") for name in ("sweep_id", "cell", "repeat")]
    newest = select(func.max(left.c.pk)).where(*place).scalar_subquery()
    again = update(jobs).where(jobs.c.pk == newest, jobs.c.superseded).values(superseded=False)
    tx.execute(
        again, [{"its_sweep_id": row.sweep_id, "its_cell": row.cell, "its_repeat": row.repeat} for row in deleted]
    )
