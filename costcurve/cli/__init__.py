"""The command line: `costcurve`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; ends the process with its exit code."""
    try:
        from costcurve.cli.running import run

        code = run(arguments)
    except KeyboardInterrupt:  # before the command began, or after its end
        code = 130
    sys.exit(code)
