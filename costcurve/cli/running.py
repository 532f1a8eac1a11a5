"""One run of the command line, from arguments to exit code."""

import logging
from collections.abc import Sequence

from costcurve.cli.app import app
from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.output import tell
from costcurve.cli.streams import OutputClosed, OutputFailed, prepare


class _Remarks(logging.Handler):
    """Log handler that prints the client's warnings, such as retries."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(f"costcurve: {record.getMessage()}")


_REMARKS = _Remarks(logging.WARNING)


def run(arguments: Sequence[str] | None) -> int:
    """Run one command, and return the exit code of the process."""
    output = prepare()
    logging.getLogger("costcurve").addHandler(_REMARKS)
    code: int = ExitCode.OK
    try:
        app(arguments, prog_name="costcurve")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else ExitCode.OK
    except (OutputFailed, OutputClosed):
        code = ExitCode.FAILED  # Output.end prints the reason
    return int(code if output is None else output.end(code))
