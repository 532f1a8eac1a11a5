"""Tags of jobs, stored per job, and of sweeps, stored once."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from costcurve.store.schema import own_tags, sweep_tags


def give_tags(tx: Connection, job_pk: int, tags: Mapping[str, str]) -> None:
    """Store the tags of a job that has none of its own."""
    if tags:
        tx.execute(insert(own_tags), [{"job_pk": job_pk, "key": key, "value": value} for key, value in tags.items()])


def replace_tags(tx: Connection, job_pk: int, tags: Mapping[str, str]) -> dict[str, bool]:
    """Replace all tags of a job; return the job's changed columns."""
    tx.execute(delete(own_tags).where(own_tags.c.job_pk == job_pk))
    give_tags(tx, job_pk, tags)
    return {"inherits_tags": False}


def share_tags(tx: Connection, sweep_id: str, tags: Mapping[str, str]) -> None:
    """Store the tags of a sweep that has none yet.

    The sweep's jobs with `inherits_tags` have them.
    """
    if tags:
        rows = [{"sweep_id": sweep_id, "key": key, "value": value} for key, value in tags.items()]
        tx.execute(insert(sweep_tags), rows)


def has_shared_tags(tx: Connection, sweep_id: str) -> bool:
    """Return True if tags are stored for the sweep itself.

    False if it has none, or was queued by a version that stored them with each job only.
    """
    known = select(sweep_tags.c.key).where(sweep_tags.c.sweep_id == sweep_id).limit(1)
    return tx.execute(known).one_or_none() is not None
