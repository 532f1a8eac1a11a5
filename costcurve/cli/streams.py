"""Standard streams of a command: there even if the shell closed them, and every failed write of results remembered."""

import io
import os
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from costcurve.cli.exit_codes import ExitCode
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


class _RawRemarks(io.FileIO):
    """Standard error. A remark that cannot be written changes nothing about the result, so it goes nowhere."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            _send_nowhere(self.fileno())
            return len(data)


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
        _send_nowhere(self.raw.fileno())
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
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _text(_RawRemarks(2, "w", closefd=False), sys.stderr)
    if sys.stdout is not None and sys.stdout is not sys.__stdout__:
        return None
    raw = _RawOutput(1, "w", closefd=False)
    sys.stdout = text = _text(raw, sys.stdout)
    return Output(raw, text)


def _text(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """Return a text stream like the one before. A terminal that cannot show σ′(z) still shows the rest of the line."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="replace",
        line_buffering=isinstance(before, io.TextIOWrapper) and (before.line_buffering or before.write_through),
    )


def _send_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


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
