"""Logging of the service and the workers, set up once in an entry point."""

import logging


def configure_logging() -> None:
    """One line an event on standard error, from INFO on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    # Alembic announces itself at every look at the schema.
    logging.getLogger("alembic").setLevel(logging.WARNING)
