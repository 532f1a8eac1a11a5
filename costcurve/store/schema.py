"""The tables, on SQLite and PostgreSQL alike. Migrations create them, not this module."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)


class UtcTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC; SQLite itself keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column that is exactly INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def _where(condition: str) -> dict[str, Any]:
    """A partial index: small, however many rows there are of which the condition does not hold."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# One row for each worker process start: a process that comes back is another worker.
workers = Table(
    "workers",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("engines", Text),
    Column("started_at", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime),
    # Past this moment anybody may give its jobs to others. Empty: it came from a version without leases.
    Column("lease_expires_at", UtcTime),
    Column("stopped_at", UtcTime),
    Index("ix_workers_alive", "lease_expires_at", **_where("stopped_at IS NULL")),
)

jobs = Table(
    "jobs",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("experiment", String(16), nullable=False),
    Column("loss", String(16), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("spec_hash", String(71), nullable=False),
    Column("name", Text),
    Column("priority", Integer, nullable=False),
    # When its turn comes: costcurve/store/queue.py.
    Column("queue_rank", Float, nullable=False, server_default=text("0")),
    # Jobs with the same key may be trained together.
    Column("pack_key", Text, nullable=False, server_default=text("''")),
    # A pack died with this job in it: it is trained alone from now on, so that it can harm no other.
    Column("solo", Boolean, nullable=False, server_default=false()),
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("parent_id", String(40)),
    # Of a job that was queued by a sweep: which cell of its grid, and which repeat, both from 0.
    Column("sweep_id", String(40)),
    Column("cell", Integer),
    Column("repeat", Integer),
    # A newer job has been queued in its place. True if, and only if, its sweep has one of the same cell and repeat.
    Column("superseded", Boolean, nullable=False, server_default=false()),
    # It has the tags of its sweep, and none of its own.
    Column("inherits_tags", Boolean, nullable=False, server_default=false()),
    Column("requested_engine", String(16), nullable=False),
    Column("requested_device", String(16), nullable=False),
    Column("engine", String(16)),
    Column("device", Text),
    # What decides the last bits there.
    Column("exec_profile", JSON(none_as_null=True)),
    Column("max_runtime_seconds", Float),
    Column("attempt", Integer, nullable=False),
    # How often in a row its worker died under this job alone, without a new checkpoint in between.
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    # The claim that may write, while the job runs: the fence.
    Column("attempt_pk", Key),
    Column("cancel_requested_at", UtcTime),
    Column("pause_requested_at", UtcTime),
    # The file from which training goes on, and how far it had come there.
    Column("checkpoint", Text),
    Column("checkpoint_step", Integer, nullable=False, server_default=text("0")),
    Column("checkpoint_epoch", Integer, nullable=False, server_default=text("0")),
    Column("epoch", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("eta_seconds", Float),
    Column("result", JSON(none_as_null=True)),
    Column("best_accuracy", Float),
    Column("error_code", String(40)),
    Column("error_message", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("version", Integer, nullable=False),
    Index("ix_jobs_status", "status"),
    Index("ix_jobs_queue", "requested_device", "requested_engine", "queue_rank", "pk", **_where("status = 'queued'")),
    Index(
        "ix_jobs_pack",
        *("requested_device", "requested_engine", "pack_key", "queue_rank", "pk"),
        **_where("status = 'queued' AND NOT solo"),
    ),
    Index("ix_jobs_running", "attempt_pk", **_where("status = 'running'")),
    Index("ix_jobs_ended", "finished_at", **_where("finished_at IS NOT NULL AND NOT pinned")),
    Index("ix_jobs_sweep", "sweep_id", "superseded", "status", **_where("sweep_id IS NOT NULL")),
    Index("ix_jobs_cell", "sweep_id", "cell", "repeat", **_where("sweep_id IS NOT NULL")),
)

# A sweep is a name for its jobs, and what they were made from. It is gone when the last of them is.
sweeps = Table(
    "sweeps",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("name", Text),
    Column("submission", JSON, nullable=False),
    # What its client calls this submission, so that it can be repeated safely.
    Column("idempotency_key", String(255), unique=True),
    Column("created_at", UtcTime, nullable=False),
)

# Tags that all jobs of a sweep have, but for those to which a client has given tags of their own.
sweep_tags = Table(
    "sweep_tags",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
    Index("ix_sweep_tags_key", "key", "value"),
)

# Tags that were given to one job.
own_tags = Table(
    "own_tags",
    metadata,
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
    Index("ix_own_tags_key", "key", "value"),
)

# A view, for reading: the tags of every job, wherever they are stored.
job_tags = Table("job_tags", MetaData(), Column("job_pk", Key), Column("key", String(64)), Column("value", String(256)))

# What a client calls a submission of its own, so that it can be repeated safely.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("submission", JSON, nullable=False),
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcTime, nullable=False),
)

# Every claim of a job, kept: who trained it, from when to when, and how that ended.
attempts = Table(
    "attempts",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("worker_id", ForeignKey("workers.id"), nullable=False, index=True),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", Text),
    # What a worker holds, however many jobs it has trained before.
    Index("ix_attempts_open", "worker_id", **_where("ended_at IS NULL")),
)

# Everything that ever happened to a job: who did it, when, and why.
events = Table(
    "events",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("from_status", String(16)),
    Column("to_status", String(16), nullable=False),
    Column("why", Text, nullable=False),
)


def _runs(name: str) -> Table:
    """Curves, stored in the runs of points in which they were reported, not a row a point."""
    return Table(
        name,
        metadata,
        Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
        Column("first_x", Integer, primary_key=True),
        Column("last_x", Integer, nullable=False),
        Column("metrics", Text, nullable=False),
        Column("data", LargeBinary, nullable=False),
    )


# A point for each epoch; and, of networks, one for each hundred steps.
curve_runs = _runs("curve_runs")
step_runs = _runs("step_runs")

# The diagnosis of a network before its first update; a neuron's is the first point of its curve.
network_starts = Table(
    "network_starts",
    metadata,
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
    Column("metrics", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# A network whose training has ended, and how it reads the test images: looked at seldom, and large.
models = Table(
    "models",
    metadata,
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
    Column("confusion", JSON, nullable=False),
    Column("mistakes", JSON, nullable=False),
    # Of each mistake, one after the other, deflated.
    Column("mistaken_pixels", LargeBinary, nullable=False),
    Column("file", LargeBinary, nullable=False),
)
