"""Exit codes of the commands, and the errors that cause them."""

from enum import IntEnum

from costcurve.client.errors import ApiError, CostCurveError, ServiceUnreachable


class ExitCode(IntEnum):
    """The exit codes that all commands of `costcurve` use."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANINGS = {
    ExitCode.OK: "success",
    ExitCode.FAILED: "the job (or a job of the sweep) failed or was cancelled, the service refused the request, or the "
    "output could not be written",
    ExitCode.USAGE: "usage error, or the service rejected the request as not valid",
    ExitCode.NOT_FOUND: "there is no such job or sweep, or the job has no model",
    ExitCode.UNREACHABLE: "no service answers",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.BROKEN_PIPE: "the reader of the output has stopped reading",
}

_NOT_VALID = frozenset({400, 413, 415, 422})


def exit_code_of(error: CostCurveError) -> ExitCode:
    """Return the exit code of a command that ends with this error."""
    match error:
        case ServiceUnreachable():
            return ExitCode.UNREACHABLE
        case ApiError(status=404):
            return ExitCode.NOT_FOUND
        case ApiError() if error.status in _NOT_VALID:
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED
