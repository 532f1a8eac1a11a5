"""The command line `costcurve`, from its entry point to its commands."""

import os
import sys
from collections.abc import Sequence

_STANDARD_OUTPUT = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, and end the process with its exit code."""
    try:
        if arguments is None and sys.argv[1:] == ["--version"] and _wrote_version():
            code = 0
        else:
            from costcurve.cli.running import run

            code = run(arguments)
    except KeyboardInterrupt:  # before the command starts, or after it ends
        code = 130
    sys.exit(code)


def _wrote_version() -> bool:
    """Write the version without the commands' imports, which take most of a second.

    Returns:
        False if it cannot be written. The application then fails in the same way, and handles it.
    """
    from importlib.metadata import version

    try:
        os.write(_STANDARD_OUTPUT, f"costcurve {version('costcurve')}\n".encode())
    except OSError:
        return False
    return True
