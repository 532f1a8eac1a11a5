"""The tables of the store on SQLite and PostgreSQL.

Migrations create them, not this module.
"""

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
    UniqueConstraint,
    false,
    text,
)


class UtcTime(TypeDecorator[datetime]):
    """A timestamp column whose values are always aware and in UTC.

    SQLite itself stores no time zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows only in a column declared exactly INTEGER.
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
    """Return the options of a partial index with this condition.

    The index stays small, however many rows do not meet the condition.
    """
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _owner() -> Column[int]:
    """Return the column with the project that owns a row.

    It is no foreign key: a project is never deleted, and each new job would lock its project's row.
    """
    return Column("project_pk", Key, nullable=False, server_default=text("1"))


# Owners of jobs and sweeps. The first row is the project `default`.
projects = Table(
    "projects",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    # Fields of ProjectLimits that differ from the service's defaults.
    Column("limits", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

# The secret of a key is not stored: only its prefix, which is not secret, and the SHA-256 of the whole key.
api_keys = Table(
    "api_keys",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("project_pk", ForeignKey("projects.pk"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", String(16), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    # Separated by spaces.
    Column("scopes", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
)

# One row for each start of a worker process: a restarted process is another worker.
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
    # After this time any process may requeue its jobs. NULL: registered by a version without leases.
    Column("lease_expires_at", UtcTime),
    Column("stopped_at", UtcTime),
    Index("ix_workers_alive", "lease_expires_at", **_where("stopped_at IS NULL")),
)

jobs = Table(
    "jobs",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    _owner(),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text),
    Column("experiment", String(16), nullable=False),
    Column("loss", String(16), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("spec_hash", String(71), nullable=False),
    Column("name", Text),
    Column("priority", Integer, nullable=False),
    # The sort key of the queue, in seconds: costcurve/store/queue.py.
    Column("queue_rank", Float, nullable=False, server_default=text("0")),
    # Jobs with equal keys may be trained in one pack.
    Column("pack_key", Text, nullable=False, server_default=text("''")),
    # Set when a worker crashed with this job and others: it is then trained alone, so that it can harm no other.
    Column("solo", Boolean, nullable=False, server_default=false()),
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("parent_id", String(40)),
    # Set for a sweep's jobs: the cell of its grid and the repeat, both from 0.
    Column("sweep_id", String(40)),
    Column("cell", Integer),
    Column("repeat", Integer),
    # True if, and only if, the sweep has a newer job of the same cell and repeat.
    Column("superseded", Boolean, nullable=False, server_default=false()),
    # The job has the tags of its sweep, and none of its own.
    Column("inherits_tags", Boolean, nullable=False, server_default=false()),
    Column("requested_engine", String(16), nullable=False),
    Column("requested_device", String(16), nullable=False),
    Column("engine", String(16)),
    Column("device", Text),
    # Decides the last bits of the results: equal profiles give equal bits.
    Column("exec_profile", JSON(none_as_null=True)),
    Column("max_runtime_seconds", Float),
    Column("attempt", Integer, nullable=False),
    # Worker crashes in a row with this job alone, without a new checkpoint in between.
    Column("crashes", Integer, nullable=False, server_default=text("0")),
    # The fence: the only claim that may write while the job runs.
    Column("attempt_pk", Key),
    Column("cancel_requested_at", UtcTime),
    Column("pause_requested_at", UtcTime),
    # The file from which training resumes, and the step and epoch of its state.
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
    Index("ix_jobs_project", "project_pk", "pk"),
    Index("ix_jobs_status", "status"),
    Index("ix_jobs_queue", "requested_device", "requested_engine", "queue_rank", "pk", **_where("status = 'queued'")),
    Index(
        "ix_jobs_fair",
        *("requested_device", "requested_engine", "project_pk", "queue_rank", "pk"),
        **_where("status = 'queued'"),
    ),
    Index(
        "ix_jobs_pack",
        *("requested_device", "requested_engine", "pack_key", "queue_rank", "pk"),
        **_where("status = 'queued' AND NOT solo"),
    ),
    Index("ix_jobs_running", "attempt_pk", **_where("status = 'running'")),
    Index("ix_jobs_running_project", "project_pk", **_where("status = 'running'")),
    Index("ix_jobs_ended", "finished_at", **_where("finished_at IS NOT NULL AND NOT pinned")),
    Index("ix_jobs_sweep", "sweep_id", "superseded", "status", **_where("sweep_id IS NOT NULL")),
    Index("ix_jobs_cell", "sweep_id", "cell", "repeat", **_where("sweep_id IS NOT NULL")),
)

# A sweep: a name for its jobs and their submission. It is deleted with the last of them.
sweeps = Table(
    "sweeps",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    _owner(),
    Column("name", Text),
    Column("submission", JSON, nullable=False),
    # Chosen by the client, so that it can repeat the submission safely.
    Column("idempotency_key", String(255)),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_sweeps_project", "project_pk", "pk"),
    UniqueConstraint("project_pk", "idempotency_key"),
)

# Sweeps that are trials. The tested job may be deleted before its trial, as the original of a clone may.
trials = Table(
    "trials",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("job_id", String(40), nullable=False, index=True),
    # The code of the finding that the trial tests; NULL if a client proposed the change.
    Column("finding", String(64)),
    # Body of the request, to compare with later ones of the same idempotency key.
    Column("request", JSON, nullable=False),
    # Repeats before any extension.
    Column("first_repeats", Integer, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("look", Integer, nullable=False),
)

# Tags of all jobs of a sweep, except those to which a client has given tags of their own.
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

# A read-only view: the tags of every job, from both tables.
job_tags = Table("job_tags", MetaData(), Column("job_pk", Key), Column("key", String(64)), Column("value", String(256)))

# Keys chosen by clients, so that they can repeat a submission safely.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_pk", Key, primary_key=True, server_default=text("1")),
    Column("key", String(255), primary_key=True),
    Column("submission", JSON, nullable=False),
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcTime, nullable=False),
)

# Every claim of a job, kept after its end: worker, start, end and outcome.
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
    # Finds the open attempts of a worker, however many have ended.
    Index("ix_attempts_open", "worker_id", **_where("ended_at IS NULL")),
)

# Everything that ever happened to a job: actor, time and reason.
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
    """Return a curve table with one row per reported chunk of points."""
    return Table(
        name,
        metadata,
        Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
        Column("first_x", Integer, primary_key=True),
        Column("last_x", Integer, nullable=False),
        Column("metrics", Text, nullable=False),
        Column("data", LargeBinary, nullable=False),
    )


# One point per epoch; for networks also one point per 100 steps.
curve_runs = _runs("curve_runs")
step_runs = _runs("step_runs")

# Diagnostics of a network before its first update; a neuron's are the first point of its curve.
network_starts = Table(
    "network_starts",
    metadata,
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
    Column("metrics", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# Trained networks and their results on the test images: large, and rarely read.
models = Table(
    "models",
    metadata,
    Column("job_pk", ForeignKey("jobs.pk", ondelete="CASCADE"), primary_key=True),
    Column("confusion", JSON, nullable=False),
    Column("mistakes", JSON, nullable=False),
    # The pixels of each mistake, one after the other, compressed by zlib.
    Column("mistaken_pixels", LargeBinary, nullable=False),
    Column("file", LargeBinary, nullable=False),
)
