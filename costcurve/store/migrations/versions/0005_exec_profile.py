"""What decides the last bits of a job's training."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("exec_profile", sa.JSON))


def downgrade() -> None:
    op.drop_column("jobs", "exec_profile")
