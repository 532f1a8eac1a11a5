"""How networks were before their first update."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "network_starts",
        sa.Column("job_pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_pk", name="pk_network_starts"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], name="fk_network_starts_job_pk_jobs", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("network_starts")
