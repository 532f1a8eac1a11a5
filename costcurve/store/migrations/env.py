"""Alembic environment: runs migrations in the transaction that costcurve/store/database.py opened."""

from alembic import context

from costcurve.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
context.run_migrations()
