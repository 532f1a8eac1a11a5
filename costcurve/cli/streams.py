"""Standard streams of a command, which record failed writes of results.

A stream that the shell closed is opened again.
"""

import io
import os
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.output import tell


class OutputFailed(OSError):
    """Error of a write to standard output, except a broken pipe."""


class OutputClosed(BrokenPipeError):
    """Broken pipe: the reader of standard output has stopped reading."""


class _RawOutput(io.FileIO):
    """Standard output that keeps its first write error in `failure`.

    Libraries that print may catch the exception; `failure` is still set.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            kind = OutputClosed if isinstance(error, BrokenPipeError) else OutputFailed
            raise kind(error.errno, error.strerror) from error


class _RawRemarks(io.FileIO):
    """Standard error that discards remarks which it cannot write.

    A lost remark does not change the result.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            _send_nowhere(self.fileno())
            return len(data)


@dataclass(frozen=True)
class Output:
    """The standard output of this process, raw and as text."""

    raw: _RawOutput
    text: io.TextIOWrapper

    def end(self, code: int) -> int:
        """Flush the output, and return the exit code of the process.

        It is the command's exit code if the results were written. Otherwise it is BROKEN_PIPE, the command's own error
        code or FAILED.
        """
        try:
            self.text.flush()
        except OSError as error:
            self.raw.failure = self.raw.failure or error
        if (failure := self.raw.failure) is None:
            return code
        # The interpreter flushes again at its end, and would print an error.
        _send_nowhere(self.raw.fileno())
        if isinstance(failure, BrokenPipeError):
            return ExitCode.BROKEN_PIPE
        tell(f"costcurve: cannot write to standard output: {failure.strerror}")
        return code or ExitCode.FAILED


def prepare() -> Output | None:
    """Open closed standard streams, and return this process's standard output.

    Returns:
        None if another object has replaced `sys.stdout`.
    """
    # The next file or socket would get the number of a closed descriptor. Descriptors 0 and 1 are opened in the wrong
    # mode, so that reads and writes fail as on a closed one.
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
    """Return a text stream with the encoding and buffering of `before`.

    Characters that the encoding lacks are replaced: a terminal that cannot show σ′(z) still shows the rest of the line.
    """
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
