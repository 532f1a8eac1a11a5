"""Idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("submission", sa.JSON, nullable=False),
        sa.Column("job_pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], name="fk_idempotency_keys_job_pk", ondelete="CASCADE"),
    )
    op.create_index("ix_idempotency_keys_job_pk", "idempotency_keys", ["job_pk"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
