"""First `admin` key of a service, written to a file that only its user can read."""

import fcntl
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from costcurve.core.access import DEFAULT_PROJECT, Scope
from costcurve.runtime.private_files import make_private_folder
from costcurve.runtime.start_up import CannotStart
from costcurve.store import JobStore

log = logging.getLogger(__name__)

_NAME = "first-admin"


def ensure_admin_key(store: JobStore, file: Path) -> None:
    """Create a key with all scopes and write it to `file`, unless there is a valid `admin` key.

    The file appears with its whole content and mode 0600, or not at all. Of several services that start at once on one
    machine, one makes the key.

    Raises:
        CannotStart: the file cannot be written. There is no key then.
    """
    try:
        make_private_folder(file.absolute().parent)
        folder = os.open(file.absolute().parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not store.has_admin_key():
                _write(store, file)
        finally:
            os.close(folder)
    except OSError as error:
        raise CannotStart(f"the first key cannot be written to {file}: {error.strerror}") from error


def _write(store: JobStore, file: Path) -> None:
    # The file is there before the key is: a folder that cannot be written must leave no key that is unknown to all.
    number, name = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}-")  # mode 0600
    try:
        with os.fdopen(number, "w") as opened:
            key, secret = store.create_key(DEFAULT_PROJECT, name=_NAME, scopes=frozenset(Scope))
            try:
                opened.write(f"{secret}\n")
                opened.flush()
                os.fsync(opened.fileno())
                Path(name).replace(file)
            except BaseException:
                store.revoke_key(key.id)
                raise
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    log.info("the first admin key, %s, is in %s", key.id, file)
