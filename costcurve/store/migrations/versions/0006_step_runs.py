"""Curves with a point for each hundred steps, beside those with a point for each epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "step_runs",
        sa.Column("job_pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("first_x", sa.Integer, nullable=False),
        sa.Column("last_x", sa.Integer, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_pk", "first_x", name="pk_step_runs"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], ondelete="CASCADE", name="fk_step_runs_job_pk"),
    )


def downgrade() -> None:
    op.drop_table("step_runs")
