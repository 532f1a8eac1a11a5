"""The command line: `costcurve`."""

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; ends the process with its exit code."""
    from costcurve.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show σ′(z) shall still show the rest of the line.
            stream.reconfigure(errors="replace")
    app(arguments, prog_name="costcurve")
