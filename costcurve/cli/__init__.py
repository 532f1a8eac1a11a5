"""The command line `costcurve`, from its entry point to its commands."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, and end the process with its exit code."""
    try:
        from costcurve.cli.running import run

        code = run(arguments)
    except KeyboardInterrupt:  # before the command starts, or after it ends
        code = 130
    sys.exit(code)
