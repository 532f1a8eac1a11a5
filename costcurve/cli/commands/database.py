"""`costcurve db …`: care of the database that COSTCURVE_DATABASE_URL or COSTCURVE_HOME names."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from costcurve.cli.local_service import STORE, require

WaitOption = Annotated[float, typer.Option(min=0, help="Seconds to wait for a database that is not there yet.")]
FileArgument = Annotated[Path, typer.Argument(help="An SQLite file, which CostCurve itself can open.")]


def migrate(wait: WaitOption = 30.0) -> None:
    """Bring the schema up to date; programs of the version before go on working."""
    _become("migrate", wait=wait)


def backup(file: FileArgument, wait: WaitOption = 30.0) -> None:
    """Write all that the database knows at this moment to a new file, while others go on using it."""
    _become("backup", str(file.absolute()), wait=wait)


def restore(file: FileArgument, wait: WaitOption = 30.0) -> None:
    """Put what a backup holds into a database of either kind that has no jobs yet, all or nothing."""
    _become("restore", str(file.absolute()), wait=wait)


def _become(*command: str, wait: float) -> None:
    require("store", "sqlalchemy")
    os.execv(STORE[0], (*STORE, "--wait", str(wait), *command))  # noqa: S606 - our own module


COMMANDS: dict[str, Callable[..., None]] = {"migrate": migrate, "backup": backup, "restore": restore}
