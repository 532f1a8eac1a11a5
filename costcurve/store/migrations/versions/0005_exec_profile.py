"""Add the execution profile of a job, which decides the last bits of its training."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("exec_profile", sa.JSON))


def downgrade() -> None:
    op.drop_column("jobs", "exec_profile")
