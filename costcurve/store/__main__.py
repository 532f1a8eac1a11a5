"""`python -m costcurve.store`: migrate, back up or restore the database; keys and projects."""

import argparse
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.arguments import seconds
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.private_files import set_private_umask
from costcurve.runtime.settings import Settings
from costcurve.runtime.start_up import ended_by_errors
from costcurve.store.access_commands import add_access_commands, run_access_command
from costcurve.store.backup import BackupRefused, back_up, restore
from costcurve.store.database import Database

# Seconds between two attempts to reach a database that is not there yet.
_RETRY = 0.5


def main() -> int:
    """Run the command line; return 0 on success, 1 on failure."""
    parser = argparse.ArgumentParser(
        prog="python -m costcurve.store",
        description="Maintain the database of CostCurve: COSTCURVE_DATABASE_URL, or the one in the home folder.",
    )
    parser.add_argument(
        "--wait",
        type=seconds,
        default=30.0,
        help="seconds to wait until the database can be reached (%(default)g)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="migrate the schema; service and workers do this too when they start")
    backup = commands.add_parser("backup", help="write all rows to a new SQLite file, while service and workers run")
    backup.add_argument("file", type=Path)
    restoring = commands.add_parser("restore", help="copy a backup into a database without jobs")
    restoring.add_argument("file", type=Path)
    add_access_commands(commands)
    arguments = parser.parse_args()
    set_private_umask()
    prefix = f"cannot {arguments.command}: "
    try:
        with ended_by_errors(prefix):
            settings = Settings()
            configure_logging(log_format=settings.log_format, level=settings.log_level)
            with closing(_opened(settings.resolved_database_url, lock_timeout=arguments.wait)) as database:
                if arguments.command == "migrate":
                    applied = ", ".join(database.applied)
                    _say(f"migrated: {applied}" if applied else "the database is up to date")
                elif arguments.command in ("keys", "projects"):
                    return run_access_command(database, arguments)
                elif arguments.command == "backup":
                    _say(f"{arguments.file}: {_summary(back_up(database, arguments.file))}")
                else:
                    _say(f"restored from {arguments.file}: {_summary(restore(arguments.file, database))}")
    except BackupRefused as refused:
        sys.stderr.write(f"{prefix}{refused}\n")
        return 1
    return 0


def _opened(url: str, *, lock_timeout: float) -> Database:
    """Open the database, retrying until it can be reached.

    Raises:
        StoreUnavailable: it could not be reached for `lock_timeout` seconds, or the error is permanent.
    """
    deadline, reported = monotonic() + lock_timeout, ""
    while True:
        try:
            return Database(url)
        except StoreUnavailable as error:
            if error.permanent or monotonic() + _RETRY > deadline:
                raise
            if error.detail != reported:  # once for each reason, not for each attempt
                sys.stderr.write(f"waiting for the database: {error.detail}\n")
                reported = error.detail
            sleep(_RETRY)


def _summary(counts: dict[str, int]) -> str:
    jobs = counts["jobs"]
    return f"{jobs} job{'' if jobs == 1 else 's'}, {sum(counts.values())} rows"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
