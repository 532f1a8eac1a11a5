"""Sweeps that are trials: which job and which finding they test."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "trials",
        sa.Column("sweep_id", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("finding", sa.String(64)),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("first_repeats", sa.Integer, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("look", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", name="pk_trials"),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_trials_sweep_id", ondelete="CASCADE"),
    )
    op.create_index("ix_trials_job_id", "trials", ["job_id"])


def downgrade() -> None:
    op.drop_table("trials")
