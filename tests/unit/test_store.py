"""The job store on a real database: what clients and workers may do, and what is refused."""

import base64
import multiprocessing
import threading
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import String, Text, event, select, text, update
from sqlalchemy.schema import CreateIndex

from jobs.curves import Curve
from jobs.database import Database
from jobs.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    InvalidTransition,
    JobNotFound,
    LaneLost,
    StoreUnavailable,
    UnknownMetric,
)
from jobs.job import Failure, MnistResult, NeuronResult, Progress, Request
from jobs.lifecycle import TRANSITIONS, JobStatus, ensure_transition
from jobs.listing import JobQuery
from jobs.store import JobStore
from jobs.submission import Submission
from jobs.tables import attempts, jobs, metadata
from jobs.transitions import MAX_CRASHES

ENGINES = {"auto": "autograd", "autograd": "autograd"}
CPU = {"auto": "cpu", "cpu": "cpu"}
RESULT = NeuronResult(final_cost=0.5, train_seconds=1.0, final_output=0.1, final_weight=-1.0, final_bias=-1.0)


def mnist_result(best: int) -> MnistResult:
    return MnistResult(
        final_cost=0.1,
        train_seconds=1.0,
        final_correct=best,
        final_accuracy=best / 10_000,
        test_size=10_000,
        best_correct=best,
        best_accuracy=best / 10_000,
        best_epoch=0,
        epochs_trained=1,
        weights_sha256="0" * 64,
    )


@pytest.fixture
def worker(store):
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    return "wrk_1"


@pytest.fixture
def claim(store, worker):
    """Take the next job: its claim, or None."""
    return lambda: next(iter(store.claim(worker, engines=ENGINES, devices=CPU)), None)


def progress(step: int) -> Progress:
    return Progress(epoch=step, epochs=300, step=step, steps=300, eta_seconds=1.5)


def points(start: int, *values: float) -> Curve:
    return Curve(start, {"cost": list(values), "output": [-value for value in values]})


def test_a_submitted_job_waits_with_its_resolved_spec(store, submit, clock):
    job = submit(name="first", tags={"team": "blue"}, priority=70)

    assert store.get(job.id) == replace(job, queue_position=1, status_reason="no worker is alive")
    assert (job.status, job.version, job.attempt) == (JobStatus.QUEUED, 1, 1)
    assert (job.name, job.tags, job.priority, job.created_at) == ("first", {"team": "blue"}, 70, clock.now)
    assert job.spec.effective_learning_rate == 0.15
    assert (job.started_at, job.finished_at, job.result, job.error) == (None, None, None, None)


def test_a_job_outlives_the_program_that_took_it(store, submit, opened):
    job = submit()

    assert JobStore(opened()).get(job.id).spec == job.spec


def named(name: str) -> Submission:
    return Submission.model_validate({"spec": {"experiment": "neuron"}, "name": name, "tags": {"a": "b"}})


def test_a_submission_repeated_with_its_key_is_the_first_answer_again(store, claim):
    first = store.submit(named("one"), idempotency_key="k")
    store.finish(claim(), RESULT)
    again = store.submit(named("one"), idempotency_key="k")

    assert (first.replayed, again.replayed) == (False, True)
    assert again.job == first.job
    assert len(store.list(JobQuery()).items) == 1
    assert store.submit(named("one"), idempotency_key="other").job.id != first.job.id
    assert store.submit(named("one")).job.id != first.job.id


def test_the_same_job_said_by_its_preset_or_by_its_spec_is_the_same_submission(store):
    preset = Submission.model_validate({"preset": "mnist-slow-hidden"})
    spelled = Submission.model_validate({"spec": preset.spec.model_dump(mode="json")})

    first = store.submit(preset, idempotency_key="k")
    assert store.submit(spelled, idempotency_key="k").job.id == first.job.id


def test_a_key_that_comes_with_another_submission_is_refused_and_queues_nothing(store):
    store.submit(named("one"), idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        store.submit(named("two"), idempotency_key="k")
    assert len(store.list(JobQuery()).items) == 1


def test_many_who_submit_with_one_key_at_once_get_one_job(opened):
    stores = [JobStore(opened()) for _ in range(6)]
    together = threading.Barrier(len(stores))
    answers: list[tuple[str, bool]] = []

    def submit(own: JobStore) -> None:
        together.wait()
        for key in range(10):
            submitted = own.submit(named(str(key)), idempotency_key=str(key))
            answers.append((submitted.job.id, submitted.replayed))

    threads = [threading.Thread(target=submit, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 60
    assert len({job_id for job_id, _ in answers}) == 10
    assert sum(not replayed for _, replayed in answers) == 10


def test_there_is_no_job_of_an_unknown_id(store):
    with pytest.raises(JobNotFound):
        store.get("job_0")


def test_the_first_job_of_the_highest_priority_is_claimed_first(submit, claim):
    low, first, second = submit(priority=1), submit(priority=60), submit(priority=60)

    assert [claim().job_id for _ in range(3)] == [first.id, second.id, low.id]
    assert claim() is None


def test_a_worker_only_claims_what_it_can_train(store, submit, worker):
    submit(device="cuda")

    assert not store.claim(worker, engines=ENGINES, devices=CPU)
    [claim] = store.claim(worker, engines=ENGINES, devices={"auto": "cuda:1", "cuda": "cuda:1", "cpu": "cpu"})
    assert (claim.engine, claim.device) == ("autograd", "cuda:1")
    assert store.get(claim.job_id).device == "cuda:1"


def test_what_a_worker_records_can_be_read(store, submit, claim):
    job = submit()
    held = claim()

    assert store.record(held, progress(2), points(0, 1.0, 0.1)) is None
    assert store.record(held, progress(3), points(2, 1 / 3)) is None

    seen = store.get(job.id)
    assert (seen.status, seen.progress) == (JobStatus.RUNNING, progress(3))
    assert seen.progress.fraction == 0.01
    page = store.curve(job.id, metrics=("output", "cost"), limit=100)
    assert page.curve == Curve(0, {"output": [-1.0, -0.1, -1 / 3], "cost": [1.0, 0.1, 1 / 3]})
    assert (page.total_points, page.next_from) == (3, 3)


def test_a_curve_is_read_by_range_and_goes_on_where_it_ended(store, submit, claim):
    job = submit()
    held = claim()
    for start in range(0, 100, 10):
        store.record(held, progress(start + 10), points(start, *map(float, range(start, start + 10))))

    def read(**bounds):
        page = store.curve(job.id, metrics=("cost",), **{"limit": 1000, **bounds})
        return page.curve.start, page.curve.series["cost"], page.total_points, page.next_from

    assert read(first=5, last=15) == (5, [float(x) for x in range(5, 16)], 11, 16)
    assert read(first=95) == (95, [95.0, 96.0, 97.0, 98.0, 99.0], 5, 100)
    assert read(first=95, limit=2) == (95, [95.0, 96.0], 5, 97)
    assert read(first=100) == (100, [], 0, 100)
    assert read(first=500) == (500, [], 0, 500)
    assert read(last=0) == (0, [0.0], 1, 1)
    assert read(first=9, last=8) == (9, [], 0, 9)


def test_an_unknown_metric_is_refused_by_name(store, submit):
    job = submit()

    with pytest.raises(UnknownMetric) as caught:
        store.curve(job.id, metrics=("cost", "accuracy"), limit=10)
    assert [error.pointer for error in caught.value.errors] == ["/query/metrics"]
    assert "accuracy" in caught.value.detail


def test_a_finished_job_has_its_result_and_its_time(store, submit, claim, clock):
    job = submit()
    clock.advance(seconds=2)
    held = claim()
    clock.advance(seconds=3)
    store.finish(held, RESULT)

    seen = store.get(job.id)
    assert (seen.status, seen.result, seen.is_terminal) == (JobStatus.SUCCEEDED, RESULT, True)
    assert seen.progress.fraction == 1.0
    assert (seen.started_at - seen.created_at).total_seconds() == 2
    assert (seen.finished_at - seen.started_at).total_seconds() == 3


def test_a_job_that_was_stopped_early_is_all_done_and_says_why_it_ended(store, submit, claim):
    job = submit({"experiment": "mnist", "early_stopping": {"patience": 2}})
    store.finish(claim(), mnist_result(9000))

    seen = store.get(job.id)
    assert (seen.progress.epoch, seen.progress.epochs, seen.progress.fraction) == (1, 30, 1.0)
    assert "stopped early: validation_accuracy had not improved for 2 epochs" in seen.status_reason


def test_a_failed_job_says_why_and_keeps_its_curve(store, submit, claim):
    job = submit()
    held = claim()
    store.record(held, progress(1), points(0, 1.0))
    store.fail(held, Failure("diverged", "cost was no longer finite"))

    seen = store.get(job.id)
    assert (seen.status, seen.error) == (JobStatus.FAILED, Failure("diverged", "cost was no longer finite"))
    assert store.curve(job.id, limit=10).total_points == 1


def test_a_job_handed_back_is_trained_again_from_the_start_at_no_cost(store, submit, claim):
    job = submit()
    held = claim()
    store.record(held, progress(5), points(0, 1.0))
    store.hand_back(held, reason="told to stop")

    seen = store.get(job.id)
    assert (seen.status, seen.status_reason, seen.attempt) == (
        JobStatus.QUEUED,
        "told to stop; next in line for a free worker",
        1,
    )
    again = claim()
    assert again.attempt == 1
    assert store.get(job.id).progress.step == 0
    assert store.curve(job.id, limit=10).total_points == 0


def test_a_worker_that_handed_a_job_back_cannot_write_to_it_any_more(store, submit, claim):
    job = submit()
    stale = claim()
    store.hand_back(stale, reason="told to stop")
    fresh = claim()

    for write in (
        lambda: store.record(stale, progress(9), points(0, 9.0)),
        lambda: store.finish(stale, RESULT),
        lambda: store.fail(stale, Failure("diverged", "")),
        lambda: store.confirm_cancel(stale),
        lambda: store.hand_back(stale, reason=""),
    ):
        with pytest.raises(LaneLost):
            write()
    store.record(fresh, progress(1), points(0, 1.0))
    store.finish(fresh, RESULT)

    assert store.get(job.id).status is JobStatus.SUCCEEDED
    assert store.curve(job.id, metrics=("cost",), limit=10).curve.series["cost"] == [1.0]


def test_a_job_that_ended_cannot_end_again(store, submit, claim):
    submit()
    held = claim()
    store.finish(held, RESULT)

    with pytest.raises(LaneLost):
        store.fail(held, Failure("diverged", ""))


def test_a_crash_costs_an_attempt_and_the_last_one_fails_the_job(store, submit):
    job = submit()
    for number in range(1, MAX_CRASHES + 1):
        store.register_worker(f"wrk_{number}", host="here", pid=number, device="cpu")
        [held] = store.claim(f"wrk_{number}", engines=ENGINES, devices=CPU)
        assert held.attempt == number
        store.retire_worker(f"wrk_{number}", reason="its worker died (SIGKILL)", crashed=True)

    seen = store.get(job.id)
    assert (seen.status, seen.error.code) == (JobStatus.FAILED, "worker_crashed")
    assert "SIGKILL" in seen.error.message


def test_a_worker_that_stops_in_order_costs_its_job_nothing(store, submit, worker, claim):
    job = submit()
    claim()
    store.retire_worker(worker, reason="told to stop", crashed=False)
    store.retire_worker(worker, reason="told to stop", crashed=False)

    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.QUEUED, 1)


def test_every_attempt_is_kept_with_its_worker_and_its_outcome(store, submit, claim, worker, opened):
    submit()
    store.hand_back(claim(), reason="told to stop")
    store.finish(claim(), RESULT)

    with opened().read() as tx:
        kept = tx.execute(select(attempts.c.worker_id, attempts.c.outcome).order_by(attempts.c.pk)).all()
    assert [tuple(row) for row in kept] == [(worker, "told to stop"), (worker, "succeeded")]


def test_a_queued_job_is_cancelled_at_once(store, submit, claim):
    job = submit()

    assert store.cancel(job.id).status is JobStatus.CANCELLED
    assert store.cancel(job.id).status is JobStatus.CANCELLED
    assert claim() is None


def test_a_running_job_is_cancelled_by_its_worker(store, submit, claim):
    job = submit()
    held = claim()

    assert store.cancel(job.id).status is JobStatus.RUNNING
    assert store.cancel(job.id).status is JobStatus.RUNNING
    assert store.record(held, progress(1), points(0, 1.0)) is Request.CANCEL
    store.confirm_cancel(held)

    assert store.get(job.id).status is JobStatus.CANCELLED


def test_a_cancel_request_is_honoured_when_the_worker_goes_instead(store, submit, claim, worker):
    job = submit()
    claim()
    store.cancel(job.id)
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)

    assert store.get(job.id).status is JobStatus.CANCELLED


def test_a_job_that_succeeded_cannot_be_cancelled(store, submit, claim):
    job = submit()
    store.finish(claim(), RESULT)

    with pytest.raises(InvalidTransition, match="succeeded job cannot become cancelled"):
        store.cancel(job.id)


def test_the_version_moves_with_every_change(store, submit, claim):
    job = submit()
    held = claim()
    versions = [job.version, store.get(job.id).version]
    store.record(held, progress(1), points(0, 1.0))
    versions.append(store.get(job.id).version)
    store.finish(held, RESULT)
    versions.append(store.get(job.id).version)

    assert versions == sorted(set(versions))


def test_jobs_are_listed_by_what_is_asked_for(store, submit, claim):
    blue = submit(tags={"team": "blue", "run": "1"})
    red = submit({"experiment": "mnist", "loss": "quadratic"}, tags={"team": "red", "run": "1"})
    submit()

    def ids(**query):
        return {job.id for job in store.list(JobQuery(**query)).items}

    assert ids(tags=(("team", "blue"),)) == {blue.id}
    assert ids(tags=(("run", "1"),)) == {blue.id, red.id}
    assert ids(tags=(("run", "1"), ("team", "red"))) == {red.id}
    assert ids(experiment="mnist") == ids(loss="quadratic") == {red.id}
    assert ids(status=JobStatus.RUNNING) == set()
    assert store.list(JobQuery(tags=(("team", "blue"),))).items[0].tags == {"team": "blue", "run": "1"}


@pytest.mark.parametrize("order", ["created_at", "-created_at", "-best_accuracy"])
def test_pages_show_every_job_once_and_in_order(store, submit, claim, order):
    for correct in (9000, 9500, 9000, 100):
        submit({"experiment": "mnist"})
        store.finish(claim(), mnist_result(correct))
    for _ in range(3):
        submit()

    pages, cursor = [], None
    while True:
        page = store.list(JobQuery(order=order, limit=2, cursor=cursor))
        pages += page.items
        cursor = page.next_cursor
        if cursor is None:
            break

    assert len({job.id for job in pages}) == len(pages) == 7
    if order == "-best_accuracy":
        assert [job.result and job.result.best_correct for job in pages] == [9500, 9000, 9000, 100, None, None, None]
    else:
        assert [job.id for job in pages] == [job.id for job in store.list(JobQuery(order=order)).items]


def forged(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "AAAA", "WzFd", "é", "W10", "eyJhIjoxfQ"),
        forged("[" * 20_000),
        forged('["-created_at", 0.5, 1' + "0" * 30 + "]"),
        forged('["-created_at", 0.5, -1]'),
        forged('["-created_at", NaN, 1]'),
        forged('["-created_at", true, 1]'),
    ],
)
def test_a_cursor_that_no_page_gave_is_refused(store, cursor):
    with pytest.raises(InvalidRequest) as caught:
        store.list(JobQuery(cursor=cursor))
    assert caught.value.errors[0].pointer == "/query/cursor"


def test_a_cursor_of_another_order_is_refused(store, submit):
    for _ in range(3):
        submit()
    cursor = store.list(JobQuery(order="created_at", limit=1)).next_cursor

    with pytest.raises(InvalidRequest):
        store.list(JobQuery(order="-created_at", cursor=cursor))


@pytest.mark.parametrize("current", JobStatus)
@pytest.mark.parametrize("target", JobStatus)
def test_only_transitions_of_the_table_are_allowed(current, target):
    if target in TRANSITIONS[current]:
        ensure_transition(current, target)
    else:
        with pytest.raises(InvalidTransition, match=f"{current}.*{target}"):
            ensure_transition(current, target)


def test_each_of_many_jobs_is_claimed_by_exactly_one_of_many_workers(store, submit, opened):
    expected = {submit().id for _ in range(60)}
    claimed: list[str] = []

    def work(name: str) -> None:
        own = JobStore(opened())
        own.register_worker(name, host="here", pid=0, device="cpu")
        while held := own.claim(name, engines=ENGINES, devices=CPU, limit=3):
            claimed.extend(each.job_id for each in held)

    threads = [threading.Thread(target=work, args=(f"wrk_{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(expected)
    assert set(claimed) == expected


def _open(url: str, barrier) -> None:
    barrier.wait()
    JobStore(Database(url)).submit(Submission.model_validate({"spec": {"experiment": "neuron"}}))


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


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_claim_finds_the_next_job_by_the_queues_index(submit, claim, opened, store):
    asked: list[tuple[str, tuple]] = []
    database = opened()
    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, given, *_: asked.append((sql, given)))
    submit()
    claim()

    claims = [each for each in asked if each[0].startswith("SELECT") and "ORDER BY jobs.queue_rank" in each[0]]
    assert len(claims) > len(CPU) * len(ENGINES)  # where somebody waits, and who is first there
    with database.read() as connection:
        for sql, given in claims:
            [step] = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given).all()
            assert step.detail.startswith("SEARCH jobs USING")
            assert "INDEX ix_jobs_queue (requested_device=? AND requested_engine=?)" in step.detail


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
    store.record(claim(), progress(1), points(0, 1.0))
    database = opened()

    def upgrade(config: Config, _revision: str) -> None:
        operations = Operations(MigrationContext.configure(config.attributes["connection"]))
        with operations.batch_alter_table("jobs", recreate="auto") as batch:
            batch.alter_column("name", type_=String(300), existing_type=Text())

    monkeypatch.setattr("jobs.database.command.upgrade", upgrade)
    database._migrate()

    assert store.get(job.id).tags == {"a": "b"}
    assert store.curve(job.id, limit=10).total_points == 1
    with database.read() as connection:
        assert connection.execute(select(attempts)).all()
    if database.engine.dialect.name == "sqlite":
        with database.write() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_stored_spec_is_read_whatever_todays_limits_are(store, submit, opened):
    job = submit(
        {"experiment": "mnist", "init": {"scheme": "normal", "std": [10, 1]}, "early_stopping": {"patience": 3}}
    )
    assert store.get(job.id).spec == job.spec
    with opened().write() as connection:
        beyond = job.spec.model_dump(mode="json") | {"epochs": 10**9}
        connection.execute(update(jobs).values(spec=beyond))

    assert store.get(job.id).spec.epochs == 10**9
    assert store.list(JobQuery()).items[0].spec.epochs == 10**9


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

    with pytest.raises(StoreUnavailable, match="cannot be made"):
        Database(f"sqlite:///{tmp_path}/file/costcurve.db")


def test_a_failed_transaction_leaves_nothing_behind(store, submit, claim):
    job = submit()
    held = claim()
    store.record(held, progress(1), points(0, 1.0))
    # What cannot be stored is found out only after the progress has been updated.
    with pytest.raises(TypeError):
        store.record(held, progress(2), Curve(1, {"cost": ["no number"]}))

    assert store.get(job.id).progress.step == 1
    assert store.curve(job.id, limit=10).total_points == 1


def test_points_written_twice_are_kept_once(store, submit, claim):
    job = submit()
    held = claim()
    store.record(held, progress(2), points(0, 1.0, 0.5))
    for _ in range(2):
        store.record(held, progress(3), points(2, 0.25))

    assert store.curve(job.id, metrics=("cost",), limit=10).curve.series["cost"] == [1.0, 0.5, 0.25]
