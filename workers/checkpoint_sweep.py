"""The checkpoint sweep: removes files that no worker will remove."""

import logging
import os
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from time import time

from costcurve.runtime.outages import Outage
from costcurve.store import JobStore

log = logging.getLogger(__name__)

# Seconds between two sweeps, and after a failed one.
INTERVAL = 600.0
RETRY = 60.0
# Seconds without a change after which an unfinished file counts as abandoned.
UNFINISHED = 3600.0
# Days without a change after which the folder of a job unknown to the store is removed. The job was deleted, or it
# belongs to another database whose workers use the same folder.
UNKNOWN_DAYS = 7.0
_SECONDS_A_DAY = 86_400.0
# Jobs looked up in one transaction.
_AT_ONCE = 500
_OURS = re.compile(r"job_[0-9a-z_]+", re.ASCII)
_CANNOT_SWEEP = "the folder of checkpoints cannot be swept"


class CheckpointSweep:
    """A thread that sweeps the checkpoint folder every ten minutes.

    It has a thread of its own, so that neither a long training nor a hanging file server delays it.
    """

    def __init__(self, folder: Path, store: JobStore, outage: Outage | None = None) -> None:
        """Prepare the sweep.

        Args:
            folder: the checkpoint folder.
            store: answers which jobs exist and which have ended.
            outage: logs failed sweeps; may be shared with the other threads of the process.
        """
        self._folder = folder
        self._store = store
        self._outage = outage if outage is not None else Outage(log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        """Start the thread: sweep now, then every ten minutes."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; return without waiting for it."""
        self._stop.set()

    def sweep(self) -> None:
        """Remove the files of ended and deleted jobs, and abandoned unfinished files.

        Raises:
            OSError: a folder could not be read or removed; all others were swept.
            StoreUnavailable: the store could not say which jobs exist.
        """
        if not self._folder.is_dir():
            return
        # Other names are not job ids, and a database rejects some of them as text.
        job_ids = [name for name in os.listdir(self._folder) if _OURS.fullmatch(name)]  # noqa: PTH208 - names only
        problem: OSError | None = None
        for start in range(0, len(job_ids), _AT_ONCE):
            some = job_ids[start : start + _AT_ONCE]
            ended, known = set(self._store.ended(some)), set(self._store.known(some))
            for job_id in some:
                try:
                    self._sweep_one(self._folder / job_id, is_over=job_id in ended, is_known=job_id in known)
                except OSError as error:
                    problem = error
        if problem is not None:
            raise problem

    def _sweep_one(self, folder: Path, *, is_over: bool, is_known: bool) -> None:
        if is_over or (not is_known and _age(folder) > UNKNOWN_DAYS * _SECONDS_A_DAY):
            with suppress(FileNotFoundError):  # another worker sweeps the same folder
                shutil.rmtree(folder)
            return
        for part in folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if time() - part.stat().st_mtime > UNFINISHED:
                    part.unlink()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 - logged; an unswept folder only takes up disk space
                self._outage.failed(_CANNOT_SWEEP, error)
                self._stop.wait(RETRY)
            else:
                self._outage.worked(_CANNOT_SWEEP)
                self._stop.wait(INTERVAL)


def _age(folder: Path) -> float:
    """Return the seconds since the folder or a file in it changed.

    Return 0 if the folder is gone.
    """
    try:
        return time() - max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return 0.0
