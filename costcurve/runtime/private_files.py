"""Files that only their owner can read: jobs, networks and client tags are no business of a machine's other users."""

import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)

_GROUP, _OTHERS = stat.S_IRWXG, stat.S_IRWXO


def set_private_umask() -> None:
    """Let this process and its children make files with mode 0600 and folders with 0700 from now on."""
    os.umask(_GROUP | _OTHERS)


def make_private_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, with mode 0700. One that exists stays as it is."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            try:
                each.mkdir()
            except FileExistsError:
                if not each.is_dir():
                    raise
            else:
                each.chmod(0o700)


def make_private_file(file: Path) -> None:
    """Make an empty file with mode 0600, unless there is a file of this name."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    file.chmod(0o600)  # whatever the umask has left of it


def keep_from_others(file: Path) -> None:
    """Take the permissions of other users from a file of ours, if it exists.

    A group that may write the file keeps its permissions: programs that run as different users of one group share it.
    """
    # Never opened: to close it would release the locks that SQLite holds in this process.
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(found.st_mode)
    private = mode & ~_OTHERS if mode & stat.S_IWGRP else mode & ~(_OTHERS | _GROUP)
    if private == mode or found.st_uid != os.geteuid():
        return
    try:
        file.chmod(private)
    except OSError as error:
        log.warning("other users may read %s: its mode %o cannot be changed: %s", file, mode, error.strerror)
