"""Jobs of sweeps that were retried, and the jobs of one cell."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_OF_A_SWEEP = sa.text("sweep_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("superseded", sa.Boolean, nullable=False, server_default=sa.false()))
    op.drop_index("ix_jobs_sweep", "jobs")
    _index("ix_jobs_sweep", ["sweep_id", "superseded", "status"])
    _index("ix_jobs_cell", ["sweep_id", "cell", "repeat"])


def downgrade() -> None:
    for name in ("ix_jobs_sweep", "ix_jobs_cell"):
        op.drop_index(name, "jobs")
    op.drop_column("jobs", "superseded")
    _index("ix_jobs_sweep", ["sweep_id", "status"])


def _index(name: str, columns: list[str]) -> None:
    op.create_index(name, "jobs", columns, sqlite_where=_OF_A_SWEEP, postgresql_where=_OF_A_SWEEP)
