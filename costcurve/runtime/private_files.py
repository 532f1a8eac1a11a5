"""Files that only their owner can read.

Other users of a machine must not see jobs, networks and client tags.
"""

import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)

_GROUP, _OTHERS = stat.S_IRWXG, stat.S_IRWXO


def set_private_umask() -> None:
    """Set the umask for files of mode 0600 and folders of 0700.

    It applies to this process and its children from now on.
    """
    os.umask(_GROUP | _OTHERS)


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, with mode 0700.

    A folder that exists is not changed.
    """
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
    """Create an empty file with mode 0600, unless it exists."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    file.chmod(0o600)  # the umask may have left less


def keep_from_others(file: Path) -> None:
    """Remove other users' permissions from a file, if it exists.

    A file of another owner is not changed. A group that may write the file keeps its permissions: programs that run as
    different users of one group share it.
    """
    # Do not open the file: closing it would release the locks that SQLite holds in this process.
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
