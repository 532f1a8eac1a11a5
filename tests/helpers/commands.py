"""The command line, in this process and as a process of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from costcurve.cli import main

COSTCURVE = [sys.executable, "-m", "costcurve"]


@contextmanager
def started(*arguments: str, home: Path, url: str = "", stderr: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen]:
    """A command as a process of its own; whatever it is doing at the end, it is ended."""
    environment = {**os.environ, "COSTCURVE_HOME": str(home), "COSTCURVE_URL": url, "COLUMNS": "100"}
    environment.pop("PYTHONUNBUFFERED", None)  # without a buffer Python does not notice that a reader has gone
    process = subprocess.Popen(
        [*COSTCURVE, *arguments], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)


@dataclass
class Ran:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def runner(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs commands here, and catches what they print."""

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return Ran(ended.value.code, captured.out, captured.err)

    return run


def piped(content: str | bytes) -> io.TextIOWrapper:
    """Standard input with this content, as a pipe gives it."""
    return io.TextIOWrapper(io.BytesIO(content.encode() if isinstance(content, str) else content), encoding="utf-8")
