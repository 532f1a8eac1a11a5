"""Tags of a sweep are stored once, and each of its jobs has them until a client gives it others."""

import threading

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import delete, event, func, insert, select, text

from costcurve.core.errors import StoreUnavailable
from costcurve.core.job import Failure
from costcurve.core.submission import Clone, JobChanges
from costcurve.core.sweep import SweepSubmission
from costcurve.store.database import Database
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import job_tags, jobs, own_tags, sweep_tags
from tests.helpers.processes import until
from tests.helpers.writing import fail

TAGS = {"team": "blue", "run": "1"}


@pytest.fixture
def sweep(store):
    """Three jobs that share two tags."""
    submission = SweepSubmission.model_validate({"spec": {"experiment": "neuron"}, "repeats": 3, "tags": TAGS})
    return store.submit_sweep(submission).sweep


@pytest.fixture
def sweep_jobs(store, sweep):
    """Its jobs, the oldest first."""
    return store.list(JobQuery(sweep_id=sweep.id, order="created_at")).items


@pytest.fixture
def stored(opened):
    """Count the rows of the two tables: `stored() == (of jobs, of sweeps)`."""
    database = opened()

    def stored() -> tuple[int, ...]:
        with database.read() as tx:
            return tuple(tx.scalar(select(func.count()).select_from(table)) for table in (own_tags, sweep_tags))

    return stored


def found(store, *tags: tuple[str, str]) -> list[str]:
    return [job.id for job in store.list(JobQuery(tags=tags, order="created_at")).items]


def test_a_filter_by_tags_finds_jobs_of_sweeps_and_jobs_by_themselves(store, submit, sweep_jobs, stored):
    alone = submit(tags={"team": "blue"})
    submit(tags={"team": "red"})

    assert found(store, ("team", "blue")) == [*(job.id for job in sweep_jobs), alone.id]
    assert found(store, ("team", "blue"), ("run", "1")) == [job.id for job in sweep_jobs]
    assert {frozenset(job.tags.items()) for job in sweep_jobs} == {frozenset(TAGS.items())}
    assert stored() == (2, 2)


@pytest.mark.parametrize("tags", [{"team": "red"}, {}])
def test_tags_that_a_client_gives_to_one_job_of_a_sweep_replace_those_of_the_sweep(store, sweep_jobs, tags):
    first, changed, last = sweep_jobs

    assert store.update(changed.id, JobChanges(tags=tags)).tags == tags
    assert store.get(changed.id).tags == tags
    assert [store.get(job.id).tags for job in (first, last)] == [TAGS, TAGS]
    assert found(store, ("team", "blue")) == [first.id, last.id]
    assert store.update(changed.id, JobChanges(tags={"a": "b"})).tags == {"a": "b"}
    assert store.update(first.id, JobChanges(priority=1)).tags == TAGS


def test_a_clone_of_a_sweeps_job_has_its_tags_and_keeps_them(store, sweep_jobs):
    clone = store.clone(sweep_jobs[0].id, Clone()).job
    store.update(sweep_jobs[0].id, JobChanges(tags={}))

    assert (clone.tags, store.get(clone.id).tags) == (TAGS, TAGS)


def test_the_tags_of_a_sweep_are_gone_with_its_last_job(store, sweep, sweep_jobs, stored):
    store.cancel_sweep(sweep.id)
    for job in sweep_jobs[:2]:
        store.delete(job.id)
    assert store.get(sweep_jobs[2].id).tags == TAGS
    store.delete(sweep_jobs[2].id)

    assert stored() == (0, 0)


@pytest.mark.parametrize("given", ["inherited", "stored with each job by the version before"])
def test_a_retried_job_has_the_tags_of_its_sweep(store, opened, sweep, claim_as, worker, given):
    if given != "inherited":
        with opened().write() as tx:
            shared = select(job_tags.c.job_pk, job_tags.c.key, job_tags.c.value)
            rows = [row._asdict() for row in tx.execute(shared)]
            tx.execute(delete(sweep_tags))
            tx.execute(jobs.update().values(inherits_tags=False))
            tx.execute(insert(own_tags), rows)
    for claim in claim_as(worker, limit=3):
        fail(store, claim, Failure("diverged", "cost was no longer finite"))

    store.retry_sweep(sweep.id)
    assert [job.tags for job in store.list(JobQuery(sweep_id=sweep.id)).items] == [TAGS] * 6


def test_a_sweep_with_long_tags_takes_little_more_room_than_one_without(store, opened):
    database, count = opened(), 500

    def bytes_per_job(tags: dict[str, str]) -> float:
        def size() -> int:
            with database.read() as tx:
                if tx.dialect.name == "postgresql":
                    return tx.scalar(text("SELECT pg_database_size(current_database())"))
                return tx.scalar(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))

        before = size()
        submission = {"spec": {"experiment": "neuron"}, "repeats": count, "tags": tags}
        store.submit_sweep(SweepSubmission.model_validate(submission))
        return (size() - before) / count

    long = {f"{number:02}".ljust(64, "\N{GRINNING FACE}"): "\N{GRINNING FACE}" * 256 for number in range(16)}
    # With each job they would take 20 kB and more, and PostgreSQL's files grow by themselves as well.
    assert bytes_per_job(long) < bytes_per_job({}) + 5_000


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_while_a_sweep_is_queued_nothing_is_written_for_each_of_its_tags(store, opened):
    written: list[str] = []

    def note(_connection: object, _cursor: object, sql: str, given: object, _context: object, many: bool) -> None:
        if sql.startswith("INSERT"):
            written.extend([sql.split()[2]] * (len(given) if many else 1))

    event.listen(store._database.engine, "before_cursor_execute", note)
    submission = {"spec": {"experiment": "neuron"}, "repeats": 50, "tags": {f"k{number}": "v" for number in range(16)}}
    store.submit_sweep(SweepSubmission.model_validate(submission))

    assert {table: written.count(table) for table in written} == {
        "sweeps": 1,
        "sweep_tags": 16,
        "jobs": 50,
        "events": 50,
    }


def migrate(database, direction, revision: str) -> None:
    with database.engine.execution_options(writes=True, migrates=True).begin() as connection:
        connection.detach()
        config = Config()
        config.set_main_option("script_location", "costcurve/store/migrations")
        config.attributes["connection"] = connection
        direction(config, revision)


def test_a_database_of_the_version_before_keeps_all_tags_and_stores_those_of_sweeps_once(
    store, submit, opened, sweep, sweep_jobs, stored
):
    alone = submit(tags={"team": "blue"})
    store.submit_sweep(SweepSubmission.model_validate({"spec": {"experiment": "neuron"}}))
    store.update(sweep_jobs[0].id, JobChanges(tags={"team": "blue"}))
    store.update(sweep_jobs[1].id, JobChanges(tags={"team": "blue", "run": "2"}))
    before = {job.id: job.tags for job in store.list(JobQuery()).items}
    database = opened()

    migrate(database, command.downgrade, "0010")
    with database.read() as tx:
        assert tx.scalar(text("SELECT count(*) FROM job_tags")) == 1 + 1 + 2 + 2
    migrate(database, command.upgrade, "head")

    assert {job.id: job.tags for job in store.list(JobQuery()).items} == before
    assert stored() == (1 + 1 + 2, 2)
    assert found(store, ("run", "1")) == [sweep_jobs[2].id]
    assert found(store, ("team", "blue")) == [*(job.id for job in sweep_jobs), alone.id]


def test_the_version_before_reads_and_writes_tags_as_it_always_did(store, submit, opened, sweep_jobs, stored):
    """Its statements, on the table that it knows, which is a view now."""
    changed, kept = sweep_jobs[0], sweep_jobs[1]
    alone = submit(tags={"a": "b"})
    with opened().write() as tx:
        pk_of = dict(tx.execute(select(jobs.c.id, jobs.c.pk)).all())
        read = "SELECT key, value FROM job_tags WHERE job_pk = :pk ORDER BY key"
        assert tx.execute(text(read), {"pk": pk_of[kept.id]}).all() == [("run", "1"), ("team", "blue")]
        for job in (changed, alone):
            tx.execute(text("DELETE FROM job_tags WHERE job_pk = :pk"), {"pk": pk_of[job.id]})
            rows = [{"pk": pk_of[job.id], "key": key, "value": "v"} for key in ("x", "y")]
            tx.execute(text("INSERT INTO job_tags (job_pk, key, value) VALUES (:pk, :key, :value)"), rows)
        assert tx.execute(text(read), {"pk": pk_of[changed.id]}).all() == [("x", "v"), ("y", "v")]

    assert [store.get(job.id).tags for job in (changed, alone, kept)] == [{"x": "v", "y": "v"}] * 2 + [TAGS]
    assert stored() == (4, 2)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_migration_gives_way_to_an_older_program_that_reads_one_table_after_another(opened, database_url, sweep_jobs):
    former, failed = opened(), []
    migrate(former, command.downgrade, "0010")

    def open_it() -> None:
        try:
            Database(database_url).close()
        except StoreUnavailable as error:
            failed.append(error)

    migrating = threading.Thread(target=open_it)
    with former.read() as older:
        older.execute(text("SELECT id FROM jobs")).all()
        migrating.start()
        with former.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as looking:
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'")
            until(lambda: looking.scalar(waits), lambda count: count == 1)
        assert len(older.execute(text("SELECT * FROM job_tags")).all()) == 6
    migrating.join(60)

    assert failed == []
    assert former.missing_migrations() == []
