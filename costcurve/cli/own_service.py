"""Commands that bring a service of their own: where it keeps its things, and that it is used like any other."""

import os
from pathlib import Path

from costcurve.cli.local_service import LocalService, home_folder
from costcurve.client.errors import CostCurveError


def make_folder(output: Path) -> None:
    """Make a command's folder, if need be. Raises CostCurveError."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CostCurveError(f"cannot make the folder {output}: {error.strerror}") from error


def home_in(output: Path) -> Path:
    """Where the service keeps its database: COSTCURVE_HOME if that is set, or else a folder of the command's own."""
    return home_folder() if os.environ.get("COSTCURVE_HOME") else (output / "home").absolute()


def own_service(output: Path, log: Path, workers: int) -> LocalService:
    """A service and workers at any free port, not started yet. Raises CannotStart."""
    return LocalService(home=home_in(output), port=0, workers=workers, log=log, own_database=True)


def how_to_look_further(output: Path) -> str:
    """With which commands the jobs are seen again."""
    home = home_in(output)
    shown = output / "home" if home == (output / "home").absolute() else home
    return f"to look further: COSTCURVE_HOME={shown} costcurve up, then costcurve list"
