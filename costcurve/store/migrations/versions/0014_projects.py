"""Projects that own jobs and sweeps, and API keys.

Existing rows belong to the project `default`, and so do those of programs of the version before. PostgreSQL adds the
columns without a rewrite of the table. They are no foreign keys: a project is never deleted, and each new job would
lock its project's row.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_QUEUED, _RUNNING = sa.text("status = 'queued'"), sa.text("status = 'running'")


def upgrade() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("pk", _NUMBER, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.bulk_insert(projects, [{"name": "default", "limits": {}, "created_at": datetime.now(UTC)}])
    op.create_table(
        "api_keys",
        sa.Column("pk", _NUMBER, nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("project_pk", _NUMBER, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("pk", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["project_pk"], ["projects.pk"], name="fk_api_keys_project_pk"),
        sa.UniqueConstraint("id", name="uq_api_keys_id"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
    )
    op.create_index("ix_api_keys_project_pk", "api_keys", ["project_pk"])
    for table in ("jobs", "sweeps", "idempotency_keys"):
        op.add_column(table, sa.Column("project_pk", _NUMBER, nullable=False, server_default="1"))
    op.create_index("ix_jobs_project", "jobs", ["project_pk", "pk"])
    op.create_index("ix_sweeps_project", "sweeps", ["project_pk", "pk"])
    _index("ix_jobs_fair", ["requested_device", "requested_engine", "project_pk", "queue_rank", "pk"], _QUEUED)
    _index("ix_jobs_running_project", ["project_pk"], _RUNNING)
    with op.batch_alter_table("idempotency_keys") as batch:
        batch.drop_constraint("pk_idempotency_keys", type_="primary")
        batch.create_primary_key("pk_idempotency_keys", ["project_pk", "key"])
    with op.batch_alter_table("sweeps") as batch:
        batch.drop_constraint("uq_sweeps_idempotency_key", type_="unique")
        batch.create_unique_constraint("uq_sweeps_project_pk", ["project_pk", "idempotency_key"])


def downgrade() -> None:
    op.execute("DELETE FROM idempotency_keys WHERE project_pk <> 1")
    op.execute("UPDATE sweeps SET idempotency_key = NULL WHERE project_pk <> 1")
    with op.batch_alter_table("sweeps") as batch:
        batch.drop_constraint("uq_sweeps_project_pk", type_="unique")
        batch.create_unique_constraint("uq_sweeps_idempotency_key", ["idempotency_key"])
    with op.batch_alter_table("idempotency_keys") as batch:
        batch.drop_constraint("pk_idempotency_keys", type_="primary")
        batch.create_primary_key("pk_idempotency_keys", ["key"])
    for name in ("ix_jobs_fair", "ix_jobs_running_project", "ix_jobs_project"):
        op.drop_index(name, "jobs")
    op.drop_index("ix_sweeps_project", "sweeps")
    for table in ("jobs", "sweeps", "idempotency_keys"):
        op.drop_column(table, "project_pk")
    op.drop_table("api_keys")
    op.drop_table("projects")


def _index(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, "jobs", columns, sqlite_where=where, postgresql_where=where)
