"""Backup and restore: everything, as it was, from either database into either; or nothing, and a reason."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import Connection, event, select, text

from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.core.trial import Proposal, TrialRequest
from costcurve.store import JobStore
from costcurve.store.backup import BackupRefused, back_up, restore
from costcurve.store.database import Database
from costcurve.store.job_update import JobUpdate
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import events, jobs, metadata
from tests.conftest import ROOT, postgresql_database
from tests.helpers.reports import RESULT, choose, mnist_result, model, points, progress, steps
from tests.helpers.writing import finish, hand_back, record, written

NEURON = {"experiment": "neuron"}
NETWORK = {"experiment": "mnist", "epochs": 2}


def rows(database: Database) -> dict[str, list]:
    """Every row of every table."""
    with database.read() as tx:
        return {
            table.name: tx.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in metadata.sorted_tables
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request, tmp_path):
    """An empty database of either kind, to restore into."""
    if request.param == "sqlite":
        with closing(Database(f"sqlite:///{tmp_path / 'other.db'}")) as database:
            yield database
        return
    with (
        postgresql_database(request.getfixturevalue("postgresql")) as url,
        closing(Database(url)) as database,
    ):
        yield database


@pytest.fixture
def lived_in(store, submit, claim, worker):
    """A store in which there is something of everything, and no worker has anything in hand."""
    submit(NETWORK, name="a 'network' – σ", tags={"of": "everything"})
    written(store, JobUpdate(held := claim(), progress(100), points(0, 0.1, 1e-300), "one.safetensors"))
    written(store, JobUpdate(held, progress(200), steps=steps(0, 0.1 + 0.2), start={"slowdown_factor": math.inf}))
    written(store, JobUpdate(held, outcome=mnist_result(9_000), model=model(bytes(range(256)))))
    submission = Submission.model_validate({"spec": NEURON})
    tried = store.submit(submission, idempotency_key="once").job
    finish(store, claim(), RESULT)
    submit()
    hand_back(store, claim(), reason="no time")
    sweep = {"spec": NEURON, "grid": {"learning_rate": [0.1, 0.3]}, "repeats": 2, "tags": {"of": "the sweep"}}
    store.submit_sweep(SweepSubmission.model_validate(sweep))
    proposal = Proposal("plateau", {"learning_rate": 0.2})
    store.submit_trial(tried.id, TrialRequest(), lambda: proposal)
    store.create_project("physics")
    store.create_key("physics", name="a key")
    store.retire_worker(worker, reason="its day is over", crashed=False)
    return store


def test_a_backup_holds_every_row_and_gives_every_row_back(lived_in, other, tmp_path):
    database, file = lived_in._database, tmp_path / "backup.db"
    before = rows(database)
    assert all(before.values())

    counts = back_up(database, file)
    restored = restore(file, other)

    assert rows(database) == before
    assert counts == restored == {name: len(found) for name, found in before.items()}
    assert rows(other) == before
    with closing(Database(f"sqlite:///{file}")) as looked_at:
        assert rows(looked_at) == before


def test_the_new_store_goes_on_where_the_old_one_stood(lived_in, other, tmp_path):
    back_up(lived_in._database, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", other)
    store = JobStore(other)

    again = store.submit(Submission.model_validate({"spec": NEURON}), idempotency_key="once")
    new = store.submit(Submission.model_validate({"spec": NEURON}))
    assert again.replayed
    assert new.job.id != again.job.id
    store.register_worker("wrk_new", host="there", pid=2, device="cpu")
    claims = store.claim("wrk_new", engines=("auto",), devices={"auto": "cpu"}, choose=choose(100))
    assert len(claims) == 1 + 4 + 2 + 1  # what was handed back, the sweep, the trial, and the new one
    for held in claims:
        finish(store, held, RESULT)


def test_a_job_that_was_being_trained_waits_for_another_worker_and_goes_on_from_its_checkpoint(
    store, submit, claim, other, tmp_path
):
    job = submit()
    record(store, claim(), progress(2), points(0, 0.5, 0.4, 0.3), checkpoint="two.safetensors")
    back_up(store._database, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", other)

    there = JobStore(other)
    assert there.get(job.id).status is JobStatus.QUEUED
    with other.read() as tx:
        last = tx.execute(select(events.c.by, events.c.why).order_by(events.c.pk.desc()).limit(1)).one()
    assert last == ("restore", "it was restored from a backup")
    there.register_worker("wrk_new", host="there", pid=2, device="cpu")
    [held] = there.claim("wrk_new", engines=("auto",), devices={"auto": "cpu"}, choose=choose())
    assert held.checkpoint == "two.safetensors"
    assert store.get(job.id).status is JobStatus.RUNNING  # where it came from, nothing changed


def test_no_service_ever_sees_jobs_of_a_restored_worker(store, submit, claim, other, tmp_path):
    """It would take the worker for crashed, and count that against the job."""
    job, running = submit(), []
    record(store, claim(), progress(2), points(0, 0.5, 0.4, 0.3), checkpoint="two.safetensors")
    back_up(store._database, tmp_path / "backup.db")

    def look(connection: Connection) -> None:
        running.extend(connection.scalars(select(jobs.c.id).where(jobs.c.status == JobStatus.RUNNING)))

    event.listen(other.engine, "commit", look)
    restore(tmp_path / "backup.db", other)
    event.remove(other.engine, "commit", look)

    assert running == []
    assert JobStore(other).get(job.id).status is JobStatus.QUEUED


def test_a_backup_is_of_one_moment_though_others_go_on_writing(store, submit, opened, tmp_path):
    first, later = submit(), []
    reading = opened()

    def submit_one_more(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not later and f"FROM {metadata.sorted_tables[0].name}" in statement:
            later.append(submit())

    event.listen(reading.engine, "after_cursor_execute", submit_one_more)
    back_up(reading, tmp_path / "backup.db")

    assert len(later) == 1
    with closing(Database(f"sqlite:///{tmp_path / 'backup.db'}")) as backup:
        assert [job.id for job in JobStore(backup).list(JobQuery()).items] == [first.id]


def test_a_store_with_jobs_is_left_alone(lived_in, store, tmp_path):
    back_up(lived_in._database, tmp_path / "backup.db")
    before = rows(lived_in._database)

    with pytest.raises(BackupRefused, match="the store is not empty"):
        restore(tmp_path / "backup.db", lived_in._database)

    assert rows(lived_in._database) == before


def test_workers_may_be_there_before_the_jobs(lived_in, other, tmp_path):
    back_up(lived_in._database, tmp_path / "backup.db")
    JobStore(other).register_worker("wrk_early", host="there", pid=2, device="cpu")

    restore(tmp_path / "backup.db", other)

    assert [worker.id for worker in JobStore(other).workers()] == ["wrk_early"]


def test_a_restore_that_fails_has_changed_nothing(lived_in, other, tmp_path):
    file = tmp_path / "backup.db"
    back_up(lived_in._database, file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE own_tags SET job_pk = 999")  # foreign keys are not enforced here
        connection.commit()

    with pytest.raises(BackupRefused, match="conflicts with itself"):
        restore(file, other)

    assert [name for name, found in rows(other).items() if found] == ["projects"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not an SQLite database"),
        (b"once upon a time", "it is not an SQLite database"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "it is damaged"),
    ],
)
def test_what_is_no_backup_is_refused(opened, tmp_path, content, why):
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(BackupRefused, match=why):
        restore(tmp_path / "file", opened())


def test_a_database_of_somebody_else_is_refused(opened, tmp_path):
    with closing(sqlite3.connect(tmp_path / "file")) as connection:
        connection.execute("CREATE TABLE jobs (pk INTEGER)")

    with pytest.raises(BackupRefused, match="it has no tables of CostCurve"):
        restore(tmp_path / "file", opened())


def test_a_backup_never_replaces_a_file(store, tmp_path):
    (tmp_path / "mine").write_text("mine")

    with pytest.raises(BackupRefused, match="exists already"):
        back_up(store._database, tmp_path / "mine")

    assert (tmp_path / "mine").read_text() == "mine"


def test_what_a_newer_version_has_migrated_is_left_to_that_version(store, opened, other, tmp_path):
    back_up(store._database, tmp_path / "newer.db")
    with closing(sqlite3.connect(tmp_path / "newer.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00d'")
        connection.commit()
    with pytest.raises(BackupRefused, match="made by a newer version"):
        restore(tmp_path / "newer.db", other)

    with store._database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))
    with pytest.raises(BackupRefused, match="a newer version has migrated"):
        back_up(store._database, tmp_path / "another.db")
    assert not (tmp_path / "another.db").exists()


def python_m_jobs(url: str, *arguments: str, **options: object) -> subprocess.Popen:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("COSTCURVE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "costcurve.store", *arguments],
        env=ours | {"COSTCURVE_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ran(url: str, *arguments: str) -> tuple[int, str, str]:
    with python_m_jobs(url, *arguments) as process:
        output, errors = process.communicate(timeout=200)
        return process.returncode, output, errors


@pytest.mark.slow
@pytest.mark.empty_database
def test_migrate_says_what_it_did(database_url):
    every = sorted(
        file.name[:4] for file in (ROOT / "costcurve" / "store" / "migrations" / "versions").glob("[0-9]*.py")
    )
    assert ran(database_url, "migrate")[:2] == (0, f"migrated: {', '.join(every)}\n")
    assert ran(database_url, "migrate")[:2] == (0, "the database is up to date\n")


@pytest.mark.slow
def test_backup_and_restore_by_the_command_line(lived_in, database_url, tmp_path):
    file = tmp_path / "backup.db"
    code, output, _ = ran(database_url, "backup", str(file))
    assert (code, output.partition(",")[0]) == (0, f"{file}: 9 jobs")

    code, output, _ = ran(f"sqlite:///{tmp_path / 'new.db'}", "restore", str(file))
    assert (code, output.partition(",")[0]) == (0, f"restored from {file}: 9 jobs")

    code, _, errors = ran(database_url, "restore", str(file))
    assert (code, errors) == (1, "cannot restore: the store is not empty: it has jobs; restore into a new database\n")


def test_a_database_that_is_not_there_is_waited_for_and_then_named_in_a_line_each():
    code, _, errors = ran("postgresql://nobody@127.0.0.1:1/none", "--wait", "2", "migrate")

    waiting, given_up = errors.splitlines()
    assert code == 1
    assert waiting.startswith("waiting for the database: the database refused: ")
    assert given_up.startswith("cannot migrate: the database refused: ")


def test_a_backup_that_is_killed_at_the_last_moment_leaves_no_file_of_that_name(lived_in, database_url, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    program = (
        "import os, signal, sys, pathlib\n"
        "from costcurve.store import backup, database\n"
        "backup._publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "backup.back_up(database.Database(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, database_url, folder / "backup.db"], timeout=200)

    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "backup.db").exists()
    assert ran(database_url, "backup", str(folder / "backup.db"))[0] == 0  # and what it left is in nobody's way
