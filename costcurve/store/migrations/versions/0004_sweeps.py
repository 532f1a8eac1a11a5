"""Sweeps, and which jobs are theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("submission", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_sweeps"),
        sa.UniqueConstraint("id", name="uq_sweeps_id"),
        sa.UniqueConstraint("idempotency_key", name="uq_sweeps_idempotency_key"),
    )
    op.add_column("jobs", sa.Column("sweep_id", sa.String(40)))
    op.add_column("jobs", sa.Column("cell", sa.Integer))
    op.add_column("jobs", sa.Column("repeat", sa.Integer))
    of_a_sweep = sa.text("sweep_id IS NOT NULL")
    op.create_index(
        "ix_jobs_sweep", "jobs", ["sweep_id", "status"], sqlite_where=of_a_sweep, postgresql_where=of_a_sweep
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_sweep", "jobs")
    for name in ("sweep_id", "cell", "repeat"):
        op.drop_column("jobs", name)
    op.drop_table("sweeps")
