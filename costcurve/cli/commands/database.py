"""`costcurve db …`: maintenance of the database named by COSTCURVE_DATABASE_URL or COSTCURVE_HOME."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from costcurve.cli.local_service import STORE, require

WaitOption = Annotated[float, typer.Option(min=0, help="Seconds to wait for a database that cannot be reached yet.")]
FileArgument = Annotated[Path, typer.Argument(help="SQLite file of the backup; CostCurve can open it as a database.")]


def migrate(wait: WaitOption = 30.0) -> None:
    """Bring the database's schema up to date with this version.

    Programs of the previous version keep working.
    """
    become("migrate", wait=wait)


def backup(file: FileArgument, wait: WaitOption = 30.0) -> None:
    """Write a snapshot of the whole database to a new file.

    Service and workers can use the database meanwhile.
    """
    become("backup", str(file.absolute()), wait=wait)


def restore(file: FileArgument, wait: WaitOption = 30.0) -> None:
    """Restore a backup, all or nothing, into a database without jobs.

    The database may be SQLite or PostgreSQL.
    """
    become("restore", str(file.absolute()), wait=wait)


def become(*command: str, wait: float = 30.0) -> None:
    """Replace this process by `python -m costcurve.store` with this command."""
    require("store", "sqlalchemy")
    os.execv(STORE[0], (*STORE, "--wait", str(wait), *command))  # noqa: S606 - our own module


COMMANDS: dict[str, Callable[..., None]] = {"migrate": migrate, "backup": backup, "restore": restore}
