"""Files with jobs, networks or logs in them can be read by their owner only, whatever the umask."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.backup import back_up
from costcurve.store.database import Database

FILES = ("costcurve.db", "costcurve.db-wal", "costcurve.db-shm")


@pytest.fixture(params=[0o000, 0o022, 0o777], ids="{:o}".format)
def umask(request) -> Iterator[int]:
    former = os.umask(request.param)
    yield request.param
    os.umask(former)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def use(database: Database) -> None:
    JobStore(database).submit(Submission.model_validate({"spec": {"experiment": "neuron"}}))


def test_a_new_database_and_a_backup_can_be_read_by_their_owner_only(tmp_path, umask):
    home = tmp_path / "new" / "home"
    with closing(Database(f"sqlite:///{home}/costcurve.db")) as database:
        use(database)
        assert [oct(mode(home / name)) for name in FILES] == [oct(0o600)] * 3
        if umask != 0o777:  # it leaves no folder in which a backup could be prepared
            back_up(database, home / "backup.db")
            assert oct(mode(home / "backup.db")) == oct(0o600)
    assert [oct(mode(folder)) for folder in (home, home.parent)] == [oct(0o700)] * 2


@pytest.mark.parametrize(("found", "left"), [(0o644, 0o600), (0o604, 0o600), (0o664, 0o660), (0o660, 0o660)])
def test_a_database_of_an_older_version_is_taken_from_other_users(tmp_path, found, left):
    """A group that may write it keeps it: service and workers may be different users."""
    tmp_path.chmod(0o755)
    url = f"sqlite:///{tmp_path}/costcurve.db"
    with closing(Database(url)) as older:
        use(older)
        for name in FILES:
            (tmp_path / name).chmod(found)
        with closing(Database(url)):
            assert [oct(mode(tmp_path / name)) for name in FILES] == [oct(left)] * 3
    assert oct(mode(tmp_path)) == oct(0o755)  # a folder may have others' files in it


def test_locks_of_this_process_outlive_a_second_opening(tmp_path):
    """POSIX drops all locks of a process on a file as soon as it closes the file anywhere."""
    url = f"sqlite:///{tmp_path}/costcurve.db"
    with closing(Database(url)) as first, first.write() as tx:
        tx.exec_driver_sql("DELETE FROM jobs")
        with closing(Database(url, lock_timeout=0.05)):
            pass
        other = (
            "import sys; from costcurve.store.database import Database\n"
            "with Database(sys.argv[1], lock_timeout=0.05).write(): pass\n"
        )
        refused = subprocess.run([sys.executable, "-c", other, url], capture_output=True, text=True, timeout=60)
    assert "database is locked" in refused.stderr
