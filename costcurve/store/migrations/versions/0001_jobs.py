"""Jobs, their tags, attempts, workers and curves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Not those of costcurve/store/schema.py: what this migration makes must stay the same when they change.
Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("stopped_at", Moment),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "jobs",
        sa.Column("pk", Key, nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_reason", sa.Text),
        sa.Column("experiment", sa.String(16), nullable=False),
        sa.Column("loss", sa.String(16), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("spec_hash", sa.String(71), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("requested_engine", sa.String(16), nullable=False),
        sa.Column("requested_device", sa.String(16), nullable=False),
        sa.Column("engine", sa.String(16)),
        sa.Column("device", sa.Text),
        sa.Column("max_runtime_seconds", sa.Float),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("attempt_pk", Key),
        sa.Column("cancel_requested_at", Moment),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("eta_seconds", sa.Float),
        sa.Column("result", sa.JSON),
        sa.Column("best_accuracy", sa.Float),
        sa.Column("error_code", sa.String(40)),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("started_at", Moment),
        sa.Column("finished_at", Moment),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
    )
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        [sa.text("priority DESC"), "pk"],
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_table(
        "job_tags",
        _job_pk(),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("job_pk", "key", name="pk_job_tags"),
        _belongs_to_job("job_tags"),
    )
    op.create_index("ix_job_tags_key", "job_tags", ["key", "value"])
    op.create_table(
        "attempts",
        sa.Column("pk", Key, nullable=False),
        _job_pk(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker_id", sa.String(40), nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("ended_at", Moment),
        sa.Column("outcome", sa.Text),
        sa.PrimaryKeyConstraint("pk", name="pk_attempts"),
        _belongs_to_job("attempts"),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name="fk_attempts_worker_id"),
    )
    op.create_index("ix_attempts_job_pk", "attempts", ["job_pk"])
    op.create_index("ix_attempts_worker_id", "attempts", ["worker_id"])
    op.create_table(
        "curve_runs",
        _job_pk(),
        sa.Column("first_x", sa.Integer, nullable=False),
        sa.Column("last_x", sa.Integer, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_pk", "first_x", name="pk_curve_runs"),
        _belongs_to_job("curve_runs"),
    )


def downgrade() -> None:
    for table in ("curve_runs", "attempts", "job_tags", "jobs", "workers"):
        op.drop_table(table)


def _job_pk() -> sa.Column[int]:
    return sa.Column("job_pk", Key, nullable=False)


def _belongs_to_job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], name=f"fk_{table}_job_pk", ondelete="CASCADE")
