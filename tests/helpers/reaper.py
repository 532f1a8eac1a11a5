"""Everything that a test run starts ends with it, also if the run is killed: pytest, a worker of xdist, a test.

Each pytest process has a folder of its own, and names it in its environment. Whatever it starts inherits that name,
daemons included. A second process, this file as a program, waits for the end of the first one: it ends every process
that carries the name, unmounts what is mounted in the folder, and removes it.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

# The environment variable with the folder's path. Tests that choose their programs' environment keep it.
MARK = "TEST_RUN_FOLDER"
# Seconds for an orderly end after SIGINT. PostgreSQL gives back its shared memory only in such an end.
_GRACE = 5.0
_KILL_TIMEOUT = 60.0
_POLL_INTERVAL = 0.05
# It belongs to a process's standard library, and ends after that process.
_HELPER = b"multiprocessing.resource_tracker"


def begin(worker: str | None = None) -> Path:
    """Make the folder of this pytest process, mark the environment, and start the reaper.

    Args:
        worker: name of this worker of xdist. Its folder lies in that of the process that started it.
    """
    outer = os.environ.get(MARK)
    if worker is not None and outer is not None:
        folder = Path(outer, worker)
        folder.mkdir()
    else:
        folder = Path(tempfile.mkdtemp(prefix="cc-", dir=outer))
    # PostgreSQL has another user if root runs the tests: that user may pass through, and not look around.
    folder.chmod(0o711)
    unmarked = {name: value for name, value in os.environ.items() if name != MARK}
    os.environ[MARK] = str(folder)
    ours = os.pidfd_open(os.getpid())
    os.set_inheritable(ours, True)
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-S", "-E", __file__, str(folder), str(ours)],
        unmarked,
        # Not this process's own: whoever reads its output to the end would wait for the reaper.
        file_actions=[(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)],
        setsid=True,
    )
    os.close(ours)
    return folder


def started(folder: Path) -> dict[int, str]:
    """Return the living processes that carry this folder's name, or that of a folder in it, with their commands."""
    mark = f"{MARK}={folder}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            variables = (process / "environ").read_bytes().split(b"\0")
            if any(each == mark or each.startswith(mark + b"/") for each in variables):
                command = (process / "cmdline").read_bytes()
                if command and _HELPER not in command:
                    found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def reap(folder: Path) -> None:
    """End every process that carries the folder's name, and remove the folder."""
    interrupted: set[int] = set()
    deadline = monotonic() + _GRACE
    while (left := set(started(folder))) and monotonic() < deadline:
        _send(signal.SIGINT, left - interrupted)
        interrupted |= left
        sleep(_POLL_INTERVAL)
    deadline = monotonic() + _KILL_TIMEOUT
    while (left := set(started(folder))) and monotonic() < deadline:
        _send(signal.SIGKILL, left)
        sleep(_POLL_INTERVAL)
    for line in Path("/proc/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _send(number: signal.Signals, pids: set[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    select.select([int(sys.argv[2])], [], [])  # readable when that process has ended
    reap(Path(sys.argv[1]))
