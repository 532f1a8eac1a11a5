"""Tags of a sweep are stored once, not with each of its jobs.

`job_tags` becomes a view of both kinds of tags. Programs of the version before read and write it as the table it was.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_VIEW = """
CREATE VIEW job_tags AS
SELECT job_pk, key, value FROM own_tags
UNION ALL
SELECT jobs.pk AS job_pk, sweep_tags.key, sweep_tags.value
FROM jobs JOIN sweep_tags ON sweep_tags.sweep_id = jobs.sweep_id
WHERE jobs.sweep_id IS NOT NULL AND jobs.inherits_tags
"""
# The version before removes all tags of a job before it gives it others.
_REMOVE = """
UPDATE jobs SET inherits_tags = FALSE WHERE pk = OLD.job_pk AND inherits_tags;
DELETE FROM own_tags WHERE job_pk = OLD.job_pk AND key = OLD.key;
"""
_ADD = "INSERT INTO own_tags (job_pk, key, value) VALUES (NEW.job_pk, NEW.key, NEW.value);"
_ON_SQLITE = (
    f"CREATE TRIGGER add_job_tag INSTEAD OF INSERT ON job_tags BEGIN {_ADD} END",
    f"CREATE TRIGGER remove_job_tag INSTEAD OF DELETE ON job_tags BEGIN {_REMOVE} END",
)
_ON_POSTGRESQL = (
    f"CREATE FUNCTION add_job_tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_ADD} RETURN NEW; END $$",
    f"CREATE FUNCTION remove_job_tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_REMOVE} RETURN OLD; END $$",
    "CREATE TRIGGER add_job_tag INSTEAD OF INSERT ON job_tags FOR EACH ROW EXECUTE FUNCTION add_job_tag()",
    "CREATE TRIGGER remove_job_tag INSTEAD OF DELETE ON job_tags FOR EACH ROW EXECUTE FUNCTION remove_job_tag()",
)
# Jobs of a sweep that have just its tags, no more and no fewer.
_INHERIT = sa.text(
    """
UPDATE jobs SET inherits_tags = TRUE
WHERE sweep_id = :sweep_id
AND (SELECT count(*) FROM own_tags WHERE own_tags.job_pk = jobs.pk) = :count
AND (
    SELECT count(*) FROM own_tags JOIN sweep_tags ON sweep_tags.key = own_tags.key AND sweep_tags.value = own_tags.value
    WHERE own_tags.job_pk = jobs.pk AND sweep_tags.sweep_id = :sweep_id
) = :count
"""
)
_FORGET = sa.text(
    "DELETE FROM own_tags WHERE job_pk IN (SELECT pk FROM jobs WHERE sweep_id = :sweep_id AND inherits_tags)"
)


def upgrade() -> None:
    op.drop_index("ix_job_tags_key", "job_tags")
    op.rename_table("job_tags", "own_tags")
    sweep_tags = op.create_table(
        "sweep_tags",
        sa.Column("sweep_id", sa.String(40), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", "key", name="pk_sweep_tags"),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_sweep_tags_sweep_id_sweeps", ondelete="CASCADE"),
    )
    op.create_index("ix_sweep_tags_key", "sweep_tags", ["key", "value"])
    op.add_column("jobs", sa.Column("inherits_tags", sa.Boolean, nullable=False, server_default=sa.false()))
    connection = op.get_bind()
    sweeps = sa.table("sweeps", sa.column("id", sa.String), sa.column("submission", sa.JSON))
    for sweep_id, submission in connection.execute(sa.select(sweeps.c.id, sweeps.c.submission)).all():
        if tags := submission["tags"]:
            rows = [{"sweep_id": sweep_id, "key": key, "value": value} for key, value in tags.items()]
            connection.execute(sa.insert(sweep_tags), rows)
            connection.execute(_INHERIT, {"sweep_id": sweep_id, "count": len(tags)})
            connection.execute(_FORGET, {"sweep_id": sweep_id})
    op.create_index("ix_own_tags_key", "own_tags", ["key", "value"])
    op.execute(_VIEW)
    for statement in _ON_POSTGRESQL if connection.dialect.name == "postgresql" else _ON_SQLITE:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW job_tags")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION add_job_tag()")
        op.execute("DROP FUNCTION remove_job_tag()")
    op.execute(
        "INSERT INTO own_tags (job_pk, key, value) SELECT jobs.pk, sweep_tags.key, sweep_tags.value FROM jobs"
        " JOIN sweep_tags ON sweep_tags.sweep_id = jobs.sweep_id WHERE jobs.inherits_tags"
    )
    op.drop_column("jobs", "inherits_tags")
    op.drop_table("sweep_tags")
    op.drop_index("ix_own_tags_key", "own_tags")
    op.rename_table("own_tags", "job_tags")
    op.create_index("ix_job_tags_key", "job_tags", ["key", "value"])
