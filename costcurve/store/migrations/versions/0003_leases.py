"""Leases of workers, events, checkpoints, pause, packs, clones, pins, and a queue in which waiting counts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Moment = sa.DateTime(timezone=True)

# As it was when this migration was written: costcurve/store/queue.py.
SECONDS_PER_PRIORITY = 60


def upgrade() -> None:
    op.add_column("workers", sa.Column("engines", sa.Text))
    op.add_column("workers", sa.Column("heartbeat_at", Moment))
    op.add_column("workers", sa.Column("lease_expires_at", Moment))
    op.add_column("jobs", sa.Column("queue_rank", sa.Float, nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("pack_key", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("jobs", sa.Column("solo", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("parent_id", sa.String(40)))
    op.add_column("jobs", sa.Column("crashes", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("pause_requested_at", Moment))
    op.add_column("jobs", sa.Column("checkpoint", sa.Text))
    op.add_column("jobs", sa.Column("checkpoint_step", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("checkpoint_epoch", sa.Integer, nullable=False, server_default=sa.text("0")))
    sqlite = op.get_bind().dialect.name == "sqlite"
    seconds = "(julianday(created_at) - 2440587.5) * 86400" if sqlite else "extract(epoch FROM created_at)"
    # Jobs that wait keep their place; each of them is a pack of its own.
    op.execute(f"UPDATE jobs SET queue_rank = {seconds} - priority * {SECONDS_PER_PRIORITY}, solo = true")  # noqa: S608
    op.create_table(
        "events",
        sa.Column("pk", Key, nullable=False),
        sa.Column("job_pk", Key, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("from_status", sa.String(16)),
        sa.Column("to_status", sa.String(16), nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_events"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], name="fk_events_job_pk", ondelete="CASCADE"),
    )
    op.create_index("ix_events_job_pk", "events", ["job_pk"])
    op.drop_index("ix_jobs_queue", "jobs")
    _partial("ix_workers_alive", "workers", ["lease_expires_at"], "stopped_at IS NULL")
    _partial("ix_jobs_queue", "jobs", ["requested_device", "requested_engine", "queue_rank", "pk"], "status = 'queued'")
    shape: list[object] = ["requested_device", "requested_engine", "pack_key", "queue_rank", "pk"]
    _partial("ix_jobs_pack", "jobs", shape, "status = 'queued' AND NOT solo")
    _partial("ix_jobs_running", "jobs", ["attempt_pk"], "status = 'running'")
    _partial("ix_jobs_ended", "jobs", ["finished_at"], "finished_at IS NOT NULL AND NOT pinned")


def downgrade() -> None:
    for name in ("ix_jobs_ended", "ix_jobs_running", "ix_jobs_pack", "ix_jobs_queue"):
        op.drop_index(name, "jobs")
    op.drop_index("ix_workers_alive", "workers")
    _partial("ix_jobs_queue", "jobs", [sa.text("priority DESC"), "pk"], "status = 'queued'")
    op.drop_table("events")
    for name in (
        *("queue_rank", "pack_key", "solo", "pinned", "parent_id", "crashes", "pause_requested_at"),
        *("checkpoint", "checkpoint_step", "checkpoint_epoch"),
    ):
        op.drop_column("jobs", name)
    for name in ("engines", "heartbeat_at", "lease_expires_at"):
        op.drop_column("workers", name)


def _partial(name: str, table: str, columns: list[object], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)  # type: ignore[arg-type]
