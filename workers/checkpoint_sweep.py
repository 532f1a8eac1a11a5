"""The sweep: removes from the folder of checkpoints what no worker will remove."""

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

# Seconds between two sweeps; and after one that failed.
INTERVAL = 600.0
RETRY = 60.0
# Seconds after which a file that was never finished is nobody's.
UNFINISHED = 3600.0
# Days without any change after which the folder of a job that the store does not know is removed. The job was deleted;
# or it belongs to another database whose workers use the same folder.
UNKNOWN_DAYS = 7.0
_SECONDS_A_DAY = 86_400.0
# Jobs that are asked for in one transaction.
_AT_ONCE = 500
_OURS = re.compile(r"job_[0-9a-z_]+", re.ASCII)
_CANNOT_SWEEP = "the folder of checkpoints cannot be swept"


class CheckpointSweep:
    """Sweeps in a thread of its own, so that neither a long training nor a file server that hangs is in the way."""

    def __init__(self, folder: Path, store: JobStore, outage: Outage | None = None) -> None:
        """Prepare the sweep.

        Args:
            folder: the folder of checkpoints.
            store: says which jobs have ended, and which there are.
            outage: where failed sweeps are told; the program's other threads may share it.
        """
        self._folder = folder
        self._store = store
        self._outage = outage if outage is not None else Outage(log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        """Sweep now, and every ten minutes."""
        self._thread.start()

    def stop(self) -> None:
        """Sweep no more; returns at once."""
        self._stop.set()

    def sweep(self) -> None:
        """Remove what is left of jobs that have ended or were deleted, and files that were never finished.

        Raises:
            OSError: something could not be looked at; all else was done.
            StoreUnavailable: nothing is known of the jobs.
        """
        if not self._folder.is_dir():
            return
        # Other names are not ours, and some of them are no text that a database takes.
        job_ids = [name for name in os.listdir(self._folder) if _OURS.fullmatch(name)]  # noqa: PTH208 - names alone
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
            with suppress(FileNotFoundError):  # another worker sweeps as well
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
            except Exception as error:  # noqa: BLE001 - told of; a folder that cannot be swept costs nothing but room
                self._outage.failed(_CANNOT_SWEEP, error)
                self._stop.wait(RETRY)
            else:
                self._outage.worked(_CANNOT_SWEEP)
                self._stop.wait(INTERVAL)


def _age(folder: Path) -> float:
    """Seconds since the folder, or anything in it, changed last; 0 if it is gone."""
    try:
        return time() - max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return 0.0
