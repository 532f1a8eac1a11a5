"""Records: figures with their command, machine, versions and commit."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RECORDS = Path(__file__).parent / "records"


def write(
    name: str, title: str, lines: list[str], *, command: str | None = None, facts: Mapping[str, str] | None = None
) -> Path:
    """Write records/NAME.md and print it.

    Args:
        name: name of the record.
        title: its heading.
        lines: its text, in Markdown.
        command: the command that was run; None for this script.
        facts: more lines for its head, by name.
    """
    script = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    head = [
        f"# {title}",
        "",
        f"- command: {command or f'`python {script}` in `benchmarks/`'}",
        f"- commit: {commit()}",
        f"- measured: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- machine: {_cpu()}, {os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        f"- versions: Python {platform.python_version()}, torch {version('torch')}, numpy {version('numpy')}",
        *(f"- {fact}: {value}" for fact, value in (facts or {}).items()),
        "",
    ]
    path = RECORDS / f"{name}.md"
    path.write_text("\n".join([*head, *lines]) + "\n")
    print(path.read_text())
    return path


def commit() -> str:
    """Return the current commit, and a note if there are uncommitted changes."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/records")
    return f"{_git('rev-parse', 'HEAD')}{' and uncommitted changes' if changed else ''}"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
