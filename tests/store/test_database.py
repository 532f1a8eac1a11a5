"""The database under the store: how it is opened and migrated, and how its trouble is told."""

import multiprocessing
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import String, Text, bindparam, event, select, text
from sqlalchemy.schema import CreateIndex

from costcurve.core.errors import StoreUnavailable
from costcurve.core.status import JobStatus
from costcurve.core.submission import JobChanges, Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.pagination import CellQuery, JobQuery
from costcurve.store.queue import queue_rank
from costcurve.store.schema import UtcTime, attempts, jobs, metadata
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, points, progress
from tests.helpers.writing import finish, hand_back, record

pytestmark = pytest.mark.empty_database


def _open(url: str, barrier) -> None:
    barrier.wait()
    JobStore(Database(url)).submit(Submission.model_validate({"spec": {"experiment": "neuron"}}))


@pytest.mark.slow
def test_processes_that_start_at_once_on_an_empty_database_all_find_their_tables(database_url):
    url = database_url.replace("costcurve.db", "new/folder/costcurve.db")
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(4)
    processes = [spawn.Process(target=_open, args=(url, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 4
    database = Database(url)
    assert len(JobStore(database).list(JobQuery()).items) == 4
    database.close()


def test_the_migrations_make_exactly_the_tables_of_the_code(opened):
    database = opened()

    assert database.missing_migrations() == []
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_partial_indexes_hold_what_the_code_says(opened):
    database = opened()
    partial = {
        index.name: str(CreateIndex(index).compile(database.engine)).partition(" WHERE ")[2]
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    sqlite = database.engine.dialect.name == "sqlite"
    made = "SELECT name, sql FROM sqlite_master" if sqlite else "SELECT indexname, indexdef FROM pg_indexes"
    with database.read() as connection:
        found = {name: sql for name, sql in connection.exec_driver_sql(made) if name in partial}

    def conditions(text: str) -> set[str]:
        """PostgreSQL writes them in its own way."""
        plain = text.replace("::text", "").replace("(status)", "status").replace("(", "").replace(")", "")
        return set(plain.split(" AND "))

    assert found.keys() == partial.keys()
    for name, sql in found.items():
        assert conditions(sql.partition(" WHERE ")[2]) == conditions(partial[name])


def test_a_file_that_is_no_database_is_reported_as_an_unavailable_store(tmp_path):
    (tmp_path / "costcurve.db").write_bytes(b"no database" * 1000)

    with pytest.raises(StoreUnavailable, match="not a database"):
        Database(f"sqlite:///{tmp_path}/costcurve.db")


def test_a_database_that_a_newer_version_has_migrated_is_used_as_it_is(opened):
    with opened().write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    newer = opened()
    assert newer.missing_migrations() == []
    assert JobStore(newer).list(JobQuery()).items == ()


def test_a_database_that_lacks_migrations_says_which(opened):
    database = opened()
    with database.write() as connection:
        connection.execute(text("DELETE FROM alembic_version"))

    assert "0001" in database.missing_migrations()


def test_a_migration_that_makes_a_table_anew_loses_nothing_that_refers_to_it(store, submit, claim, opened, monkeypatch):
    job = submit(tags={"a": "b"})
    record(store, claim(), progress(1), points(0, 1.0))
    database = opened()

    def upgrade(config: Config, _revision: str) -> None:
        operations = Operations(MigrationContext.configure(config.attributes["connection"]))
        with operations.batch_alter_table("jobs", recreate="auto") as batch:
            batch.alter_column("name", type_=String(300), existing_type=Text())

    monkeypatch.setattr(command, "upgrade", upgrade)
    database._migrate()

    assert store.get(job.id).tags == {"a": "b"}
    assert store.curve(job.id, limit=10).total_points == 1
    with database.read() as connection:
        assert connection.execute(select(attempts)).all()
    if database.engine.dialect.name == "sqlite":
        with database.write() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_database_file_that_was_deleted_takes_no_job(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/costcurve.db")
    store = JobStore(database)
    (tmp_path / "costcurve.db").rename(tmp_path / "elsewhere.db")

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.submit(Submission.model_validate({"spec": {"experiment": "neuron"}}))
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        database.missing_migrations()
    (tmp_path / "elsewhere.db").rename(tmp_path / "costcurve.db")
    assert store.list(JobQuery()).items == ()
    database.close()


def test_a_home_that_cannot_be_made_is_reported_as_an_unavailable_store(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be created"):
        Database(f"sqlite:///{tmp_path}/file/costcurve.db")


def migrate(database: Database, direction, revision: str) -> None:
    with database.engine.execution_options(writes=True).begin() as connection:
        config = Config()
        config.set_main_option("script_location", "costcurve/store/migrations")
        config.attributes["connection"] = connection
        direction(config, revision)


def test_a_database_of_the_version_without_leases_keeps_its_jobs_and_their_places_in_the_queue(opened, clock):
    database = opened()
    store = JobStore(database, clock=clock)
    submission = Submission.model_validate({"spec": {"experiment": "neuron"}, "tags": {"a": "b"}})
    migrate(database, command.downgrade, "0002")
    with database.write() as tx:
        tx.execute(
            text("INSERT INTO workers (id, host, pid, device, started_at) VALUES ('wrk_0', 'here', 1, 'cpu', :now)"),
            {"now": datetime.now(UTC)},
        )
        spec = submission.model_dump_json(include={"spec"})[len('{"spec":') : -1]
        for pk, (status, priority, minutes, attempt_pk) in enumerate(
            [
                ("queued", 50, 0, None),
                ("queued", 51, 2, None),
                ("queued", 60, 8, None),
                ("running", 50, 0, 1),
                ("succeeded", 50, 0, None),
            ],
            start=1,
        ):
            values = {
                "id": f"job_{pk}",
                "status": status,
                "priority": priority,
                "created_at": clock.now + timedelta(minutes=minutes, microseconds=250_000),
                "attempt_pk": attempt_pk,
                "spec": spec,
            }
            tx.execute(
                text(
                    "INSERT INTO jobs (id, status, experiment, loss, spec, spec_hash, priority, requested_engine,"
                    " requested_device, attempt, attempt_pk, epoch, step, created_at, version) VALUES (:id, :status,"
                    " 'neuron', 'cross_entropy', :spec, 'sha256:0', :priority, 'auto', 'auto', 1, :attempt_pk, 0, 0,"
                    " :created_at, 1)"
                ).bindparams(bindparam("created_at", type_=UtcTime)),
                values,
            )
        tx.execute(
            text("INSERT INTO attempts (job_pk, number, worker_id, started_at) VALUES (4, 1, 'wrk_0', :now)"),
            {"now": datetime.now(UTC)},
        )
        tx.execute(text("INSERT INTO job_tags (job_pk, key, value) VALUES (1, 'a', 'b')"))

    upgraded = JobStore(opened(), clock=clock)  # opening it brings it up to date
    assert opened().missing_migrations() == []
    with opened().read() as tx:
        ranks = dict(tx.execute(select(jobs.c.id, jobs.c.queue_rank)).all())
    for job in upgraded.list(JobQuery()).items:
        assert ranks[job.id] == pytest.approx(queue_rank(job.created_at, job.priority), abs=0.001)
    assert upgraded.get("job_1").tags == {"a": "b"}
    assert [upgraded.get(f"job_{number}").status for number in range(1, 6)] == [
        *[JobStatus.QUEUED] * 3,
        JobStatus.RUNNING,
        JobStatus.SUCCEEDED,
    ]
    assert [upgraded.get(f"job_{number}").queue_position for number in (3, 1, 2)] == [1, 2, 3]
    new = upgraded.submit(submission.model_copy(update={"priority": 51})).job
    order = []
    for worker_id in ("wrk_1", "wrk_2", "wrk_3", "wrk_4"):
        upgraded.register_worker(worker_id, host="here", pid=1, device="cpu")
        order.append(upgraded.claim(worker_id, engines=ENGINES, devices=CPU, choose=choose(8)))
    assert [[each.job_id for each in held] for held in order] == [["job_3"], [new.id], ["job_1"], ["job_2"]]
    # Its worker has no lease to run out: that version's own supervisor retires it.
    assert list(upgraded.reap(by="somebody")) == []
    upgraded.retire_worker("wrk_0", reason="told to stop", crashed=False)
    assert upgraded.get("job_4").status is JobStatus.QUEUED
    assert store.events("job_4")[-1].why == "told to stop"


def test_every_migration_can_be_taken_back(opened, store, submit, claim):
    job = submit(tags={"a": "b"})
    held = claim()
    record(store, held, progress(1), points(0, 1.0), checkpoint="at-1")
    database = opened()
    migrate(database, command.downgrade, "0002")
    assert database.missing_migrations()[-1] == "0003"
    migrate(database, command.upgrade, "head")

    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert store.get(job.id).tags == {"a": "b"}
    assert store.curve(job.id, limit=10).total_points == 1
    migrate(database, command.downgrade, "base")
    assert JobStore(opened()).list(JobQuery()).items == ()


def queries(opened, work) -> list[tuple[str, object]]:
    """The statements of a piece of work on a store, with their parameters, or the first of many."""
    database = opened()
    asked: list[tuple[str, object]] = []

    def ask(_connection: object, _cursor: object, sql: str, given: Any, _context: object, many: bool) -> None:
        asked.append((sql, given[0] if many else given))

    event.listen(database.engine, "before_cursor_execute", ask)
    work(JobStore(database))
    return asked


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_query_of_a_busy_store_reads_a_whole_table(opened):
    def work(store: JobStore) -> None:
        submission = Submission.model_validate({"spec": {"experiment": "neuron"}, "tags": {"a": "b"}})
        ids = [store.submit(submission, idempotency_key=key).job.id for key in ("a", "b", "c", "d")]
        store.register_worker("wrk_1", host="here", pid=1, device="cpu", lease_seconds=0)
        store.get(ids[-1])
        store.list(JobQuery(limit=2))
        sweep = store.submit_sweep(SweepSubmission(spec={"experiment": "mnist"}, repeats=2), idempotency_key="e").sweep
        store.sweep(sweep.id)
        store.sweeps(limit=2)
        store.list(JobQuery(limit=2, sweep_id=sweep.id))
        store.retry_sweep(sweep.id)
        store.cells(sweep.id, CellQuery())
        store.cancel_sweep(sweep.id)
        store.delete(store.list(JobQuery(sweep_id=sweep.id)).items[0].id)
        store.update(ids[-1], JobChanges(priority=7))
        first, second = store.claim("wrk_1", engines=ENGINES, devices=CPU, choose=choose(2))
        record(store, first, progress(1), points(0, 1.0), checkpoint="at-1")
        store.curve(ids[0], limit=10)
        finish(store, first, RESULT)
        hand_back(store, second, reason="told to stop")
        store.claim("wrk_1", engines=ENGINES, devices=CPU, choose=choose(2))
        store.workers()
        store.reap(by="somebody")
        store.ended(ids)
        store.events(ids[0])
        store.purge(days=0)

    read_whole = []
    with opened().read() as connection:
        for sql, given in queries(opened, work):
            if sql.startswith(("SELECT", "UPDATE", "DELETE")):
                plan = [step.detail for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)]
                # A page of the newest jobs or sweeps reads as many as it shows; workers are few.
                known = re.search("ORDER BY (jobs|sweeps).pk DESC", sql) or sql.startswith("DELETE FROM workers")
                # An unnamed subquery, `anon_1`, has rows of the requested jobs only; its tables have their own steps.
                scans = [step for step in plan if re.match("SCAN (?!anon_)", step) and "INDEX" not in step]
                if not known and scans:
                    read_whole.append((sql, plan))
                if "pack_key = ?" in sql:
                    company = plan
    assert read_whole == []
    assert company == [
        "SEARCH jobs USING INDEX ix_jobs_pack (requested_device=? AND requested_engine=? AND pack_key=?)"
    ]
