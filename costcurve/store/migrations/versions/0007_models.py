"""Trained networks are kept, and how each reads the test images."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("job_pk", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("confusion", sa.JSON, nullable=False),
        sa.Column("mistakes", sa.JSON, nullable=False),
        sa.Column("mistaken_pixels", sa.LargeBinary, nullable=False),
        sa.Column("file", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_pk", name="pk_models"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], name="fk_models_job_pk", ondelete="CASCADE"),
    )
    if op.get_context().dialect.name == "postgresql":
        # Weights are as good as random: to try to compress them takes longer than to write them.
        op.execute("ALTER TABLE models ALTER COLUMN file SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("models")
