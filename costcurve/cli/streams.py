"""Standard streams of a command: there even if the shell closed them, and every failed write of results remembered."""

import io
import os
import sys
from dataclasses import dataclass
from typing import Any

from costcurve.cli.exits import ExitCode
from costcurve.cli.output import tell


class OutputFailed(OSError):
    """Standard output cannot be written."""


class OutputClosed(BrokenPipeError):
    """The reader of standard output has stopped reading."""


class _RawOutput(io.FileIO):
    """Standard output. Libraries that print catch errors of their own; `failure` is the first one all the same."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            kind = OutputClosed if isinstance(error, BrokenPipeError) else OutputFailed
            raise kind(error.errno, error.strerror) from error


@dataclass(frozen=True)
class Output:
    """The standard output of this process."""

    raw: _RawOutput
    text: io.TextIOWrapper

    def end(self, code: int) -> int:
        """Write what is left, and return the exit code: the command's, unless its results could not be written."""
        try:
            self.text.flush()
        except OSError as error:
            self.raw.failure = self.raw.failure or error
        if (failure := self.raw.failure) is None:
            return code
        # The interpreter flushes once more as it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.raw.fileno())
        if isinstance(failure, BrokenPipeError):
            return ExitCode.BROKEN_PIPE
        tell(f"costcurve: cannot write to standard output: {failure.strerror}")
        return code or ExitCode.FAILED


def prepare() -> Output | None:
    """Open what the shell closed, and return this process's own standard output; None if something stands in for it."""
    # What is closed would be given to the first file or socket that is opened. These fail as a closed one would.
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        if not _is_open(descriptor):
            _open_as(descriptor, mode)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show σ′(z) shall still show the rest of the line.
            stream.reconfigure(errors="replace")
    if sys.stdout is None:
        return _output(encoding="utf-8", line_buffering=False)
    if sys.stdout is not sys.__stdout__ or not isinstance(sys.stdout, io.TextIOWrapper):
        return None
    return _output(encoding=sys.stdout.encoding, line_buffering=sys.stdout.line_buffering)


def _output(*, encoding: str, line_buffering: bool) -> Output:
    raw = _RawOutput(1, "w", closefd=False)
    text = io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="replace", line_buffering=line_buffering)
    sys.stdout = text
    return Output(raw, text)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_as(descriptor: int, mode: int) -> None:
    opened = os.open(os.devnull, mode)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)
