"""Sweeps in the store: many jobs submitted, seen, listed and cancelled as one."""

import threading
from collections import Counter
from collections.abc import Callable
from time import process_time

import pytest
from sqlalchemy import event, select, update

from costcurve.core.errors import IdempotencyKeyReused, InvalidRequest, JobNotFound, SweepNotFound
from costcurve.core.job import Failure, Job, Request
from costcurve.core.status import JobStatus
from costcurve.core.submission import Clone, JobChanges, Submission
from costcurve.core.sweep import Sweep, SweepSubmission, planned
from costcurve.store import JobStore
from costcurve.store import sweeps as store_sweeps
from costcurve.store.enqueue import job_values
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import events, job_tags, jobs
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, points, progress
from tests.helpers.writing import confirm_cancel, fail, finish, record


def sweep_of(**fields: object) -> SweepSubmission:
    grid = {"loss": ["quadratic", "cross_entropy"], "epochs": [5, 6]}
    return SweepSubmission.model_validate({"spec": {"experiment": "neuron"}, "grid": grid, "repeats": 2, **fields})


@pytest.fixture
def sweep(store) -> Sweep:
    """Eight jobs: four cells, each twice."""
    return store.submit_sweep(sweep_of()).sweep


@pytest.fixture
def jobs_of(store) -> Callable[[str], list[Job]]:
    """The jobs of a sweep, in the order in which they were queued."""

    def jobs_of(sweep_id: str) -> list[Job]:
        return list(store.list(JobQuery(sweep_id=sweep_id, order="created_at", limit=5000)).items)

    return jobs_of


def counts(sweep: Sweep) -> dict[str, int]:
    """The states in which it has jobs."""
    return {status.value: count for status, count in sweep.counts.items() if count}


def test_a_sweep_queues_all_of_its_jobs(store, jobs_of, clock):
    submission = sweep_of(name="n", tags={"a": "b", "c": "d"}, priority=60, device="cpu", max_runtime_seconds=9.0)
    sweep = store.submit_sweep(submission).sweep

    assert sweep == store.sweep(sweep.id)
    assert (counts(sweep), sweep.total, sweep.is_terminal) == ({"queued": 8}, 8, False)
    assert (sweep.submission, sweep.created_at) == (submission, clock.now)
    assert list(sweep.counts) == list(JobStatus)
    found = jobs_of(sweep.id)
    assert [(job.cell, job.repeat, job.spec) for job in found] == [
        (job.cell, job.repeat, job.submission.spec) for job in planned(submission)
    ]
    for job in found:
        assert (job.sweep_id, job.parent_id, job.name, job.tags) == (sweep.id, None, "n", {"a": "b", "c": "d"})
        assert (job.priority, job.device, job.max_runtime_seconds) == (60, "cpu", 9.0)
    assert [job.queue_position for job in found] == [*range(1, 9)]


def test_the_rows_of_a_sweeps_job_are_those_of_the_same_job_submitted_alone(store, opened):
    sweep = store.submit_sweep(sweep_of(tags={"a": "b"}, priority=60)).sweep
    for job in planned(sweep.submission):
        store.submit(job.submission)

    def rows(of_sweep: bool) -> list[tuple]:
        mine = jobs.c.sweep_id.is_not(None) if of_sweep else jobs.c.sweep_id.is_(None)
        own = [
            column
            for column in jobs.c
            if column.name not in ("pk", "id", "sweep_id", "cell", "repeat", "inherits_tags")
        ]
        of_job = select(jobs.c.pk).where(mine)
        with opened().read() as tx:
            return [
                tx.execute(select(*own).where(mine).order_by(jobs.c.pk)).all(),
                tx.execute(
                    select(job_tags.c.key, job_tags.c.value)
                    .where(job_tags.c.job_pk.in_(of_job))
                    .order_by(job_tags.c.job_pk)
                ).all(),
                tx.execute(
                    select(events.c.at, events.c.by, events.c.from_status, events.c.to_status)
                    .where(events.c.job_pk.in_(of_job))
                    .order_by(events.c.pk)
                ).all(),
            ]

    assert rows(of_sweep=True) == rows(of_sweep=False)
    assert [len(kind) for kind in rows(of_sweep=True)] == [8, 8, 8]


def test_an_event_says_by_which_sweep_a_job_was_submitted(store, sweep, jobs_of):
    assert {each.why for job in jobs_of(sweep.id) for each in store.events(job.id)} == {
        f"submitted by the sweep {sweep.id}"
    }


def test_a_sweep_that_cannot_be_queues_nothing(store):
    with pytest.raises(InvalidRequest):
        store.submit_sweep(sweep_of(grid={"epochs": [1, 0]}))
    assert (store.list(JobQuery()).items, store.sweeps().items) == ((), ())


def test_a_sweep_whose_submission_breaks_off_leaves_nothing(store, monkeypatch):
    def same_id(*args: object, **kwargs: object) -> dict:
        return {**job_values(*args, **kwargs), "id": "job_0"}

    monkeypatch.setattr(store_sweeps, "job_values", same_id)
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.submit_sweep(sweep_of())
    assert (store.list(JobQuery()).items, store.sweeps().items) == ((), ())


def test_jobs_of_a_sweep_are_trained_like_all_others_and_its_counts_tell(store, sweep, jobs_of, claim_as, worker):
    held = claim_as(worker, limit=4)
    assert [each.job_id for each in held] == [job.id for job in jobs_of(sweep.id)[:4]]
    finish(store, held[0], RESULT)

    assert counts(store.sweep(sweep.id)) == {"queued": 4, "running": 3, "succeeded": 1}


def test_cancelling_a_sweep_cancels_what_waits_and_asks_for_the_rest(store, sweep, jobs_of, claim_as, worker):
    store.pause(jobs_of(sweep.id)[7].id)
    held = claim_as(worker, limit=3)
    finish(store, held[0], RESULT)
    store.cancel(held[1].job_id)
    other = store.submit(Submission.model_validate({"spec": {"experiment": "neuron"}})).job

    assert counts(store.cancel_sweep(sweep.id)) == {"running": 2, "succeeded": 1, "cancelled": 5}
    assert counts(store.cancel_sweep(sweep.id)) == {"running": 2, "succeeded": 1, "cancelled": 5}
    for claim in held[1:]:
        assert record(store, claim, progress(1), points(0, 1.0)) is Request.CANCEL
        confirm_cancel(store, claim)
    ended = store.cancel_sweep(sweep.id)

    assert (counts(ended), ended.is_terminal) == ({"succeeded": 1, "cancelled": 7}, True)
    why = {claim.job_id: [each.why for each in store.events(claim.job_id)] for claim in held}
    assert "cancel requested" not in why[held[0].job_id]
    assert why[held[1].job_id].count("cancel requested") == why[held[2].job_id].count("cancel requested") == 1
    waited = jobs_of(sweep.id)[4]
    assert (waited.status_reason, waited.version) == ("cancelled with its sweep", 2)
    assert waited.finished_at is not None
    assert [each.to_status for each in store.events(waited.id)] == [JobStatus.QUEUED, JobStatus.CANCELLED]
    assert store.get(other.id).status is JobStatus.QUEUED


def test_a_sweep_is_cancelled_while_workers_claim_train_and_die(opened, store):
    sweep = store.submit_sweep(sweep_of(repeats=20)).sweep
    together = threading.Barrier(4)
    errors: list[Exception] = []

    def work(own: JobStore, name: str) -> None:
        own.register_worker(name, host="here", pid=1, device="cpu")
        together.wait()
        while held := own.claim(name, engines=ENGINES, devices=CPU, choose=choose(3)):
            for claim in held[1:]:
                if record(own, claim, progress(1), points(0, 1.0)) is Request.CANCEL:
                    confirm_cancel(own, claim)
                else:
                    finish(own, claim, RESULT)
            own.retire_worker(name, reason="told to stop", crashed=False)
            name += "x"
            own.register_worker(name, host="here", pid=1, device="cpu")

    def cancel(own: JobStore) -> None:
        together.wait()
        own.cancel_sweep(sweep.id)

    def noted(work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            errors.append(error)

    stores = [JobStore(opened()) for _ in range(4)]
    tasks = [(work, stores[0], "a"), (work, stores[1], "b"), (cancel, stores[2]), (cancel, stores[3])]
    threads = [threading.Thread(target=noted, args=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    ended = store.sweep(sweep.id)
    assert (ended.total, ended.is_terminal) == (80, True)
    assert set(counts(ended)) <= {"succeeded", "cancelled"}


def test_an_unknown_sweep_is_not_found(store):
    for look in (store.sweep, store.cancel_sweep, store.retry_sweep):
        with pytest.raises(SweepNotFound):
            look("swp_0")
    assert store.list(JobQuery(sweep_id="swp_0")).items == ()


def test_sweeps_are_listed_page_by_page_the_newest_first(store):
    made = [store.submit_sweep(sweep_of(name=str(number))).sweep for number in range(5)]

    first = store.sweeps(limit=2)
    second = store.sweeps(limit=2, cursor=first.next_cursor)
    last = store.sweeps(limit=2, cursor=second.next_cursor)
    assert [*first.items, *second.items, *last.items] == made[::-1]
    assert last.next_cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "WyJzd2VlcHMiLC0xXQ", "WyJzd2VlcHMiLHRydWVd"])
def test_a_cursor_that_no_page_of_sweeps_gave_is_refused(store, submit, cursor):
    submit(), submit()

    for given in (cursor, store.list(JobQuery(limit=1)).next_cursor):
        with pytest.raises(InvalidRequest) as caught:
            store.sweeps(cursor=given)
        assert caught.value.errors[0].pointer == "/query/cursor"


def test_jobs_of_a_sweep_are_listed_by_status_and_page_by_page(store, sweep, claim_as, worker, submit):
    submit()
    claim_as(worker, limit=3)

    assert len(store.list(JobQuery(sweep_id=sweep.id, status=(JobStatus.RUNNING,))).items) == 3
    pages, cursor = [], None
    while not pages or cursor is not None:
        page = store.list(JobQuery(sweep_id=sweep.id, limit=3, cursor=cursor))
        pages += page.items
        cursor = page.next_cursor
    assert [job.cell for job in pages] == [3, 2, 1, 0] * 2


def test_a_sweep_repeated_with_its_key_is_the_first_answer_again(store, claim):
    first = store.submit_sweep(sweep_of(), idempotency_key="k")
    finish(store, claim(), RESULT)
    store.cancel_sweep(first.sweep.id)
    again = store.submit_sweep(sweep_of(), idempotency_key="k")

    assert (first.replayed, again.replayed) == (False, True)
    assert again.sweep == first.sweep
    assert len(store.sweeps().items) == 1
    with pytest.raises(IdempotencyKeyReused):
        store.submit_sweep(sweep_of(repeats=1), idempotency_key="k")
    assert store.submit_sweep(sweep_of(), idempotency_key="other").sweep.id != first.sweep.id
    # Keys of jobs are apart.
    assert not store.submit(Submission.model_validate({"spec": {"experiment": "neuron"}}), idempotency_key="k").replayed


def test_many_who_submit_with_one_key_at_once_get_one_sweep(opened):
    stores = [JobStore(opened()) for _ in range(4)]
    together = threading.Barrier(len(stores))
    answers: list[tuple[str, bool]] = []

    def submit(own: JobStore) -> None:
        together.wait()
        for key in range(5):
            submitted = own.submit_sweep(sweep_of(), idempotency_key=str(key))
            answers.append((submitted.sweep.id, submitted.replayed))

    threads = [threading.Thread(target=submit, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 20
    assert len({sweep_id for sweep_id, _ in answers}) == 5
    assert sum(not replayed for _, replayed in answers) == 5
    assert len(stores[0].list(JobQuery(limit=1000)).items) == 40


def test_a_sweep_is_gone_with_its_last_job(store, jobs_of):
    sweep = store.submit_sweep(sweep_of(), idempotency_key="k").sweep
    store.cancel_sweep(sweep.id)
    *others, last = jobs_of(sweep.id)
    for job in others:
        store.delete(job.id)
    assert (store.sweep(sweep.id).total, counts(store.sweep(sweep.id))) == (1, {"cancelled": 1})
    store.delete(last.id)

    with pytest.raises(SweepNotFound):
        store.sweep(sweep.id)
    assert not store.submit_sweep(sweep_of(), idempotency_key="k").replayed


def test_two_who_delete_the_last_two_jobs_of_a_sweep_at_once_leave_no_sweep(opened, jobs_of, store):
    stores = [JobStore(opened()) for _ in range(2)]
    for _ in range(10):
        sweep = store.submit_sweep(sweep_of(grid={}, repeats=2)).sweep
        store.cancel_sweep(sweep.id)
        together = threading.Barrier(2)

        def delete(own: JobStore, job_id: str, together: threading.Barrier = together) -> None:
            together.wait()
            own.delete(job_id)

        pairs = zip(stores, jobs_of(sweep.id), strict=True)
        threads = [threading.Thread(target=delete, args=(own, job.id)) for own, job in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (store.sweeps().items, store.list(JobQuery()).items) == ((), ())


def test_sweeps_whose_jobs_were_purged_are_gone_with_them(store, jobs_of, clock):
    old, kept = (store.submit_sweep(sweep_of()).sweep for _ in range(2))
    store.cancel_sweep(old.id)
    for job in jobs_of(kept.id)[1:]:
        store.cancel(job.id)
    clock.advance(seconds=2 * 86_400)

    assert store.purge(days=1) == 15
    assert [sweep.id for sweep in store.sweeps().items] == [kept.id]
    assert store.sweep(kept.id).total == 1


def test_a_clone_of_a_sweeps_job_is_none_of_its_jobs(store, sweep, jobs_of):
    twin = store.clone(jobs_of(sweep.id)[0].id, Clone()).job

    assert (twin.sweep_id, twin.cell, twin.repeat) == (None, None, None)
    assert store.sweep(sweep.id).total == 8


def test_a_job_alone_belongs_to_no_sweep(store, submit):
    assert submit().sweep_id is None
    with pytest.raises(JobNotFound):
        store.get("swp_0")


def test_5000_jobs_are_queued_and_cancelled_in_one_transaction_each_with_few_statements(opened):
    database = opened()
    store = JobStore(database)
    commits, statements = [], []
    event.listen(database.engine, "commit", commits.append)
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    grid = {"learning_rate": [rate / 1000 for rate in range(1, 2501)], "loss": ["quadratic", "cross_entropy"]}

    started = process_time()
    sweep = store.submit_sweep(sweep_of(spec={"experiment": "mnist"}, grid=grid, repeats=1, tags={"a": "b"})).sweep
    assert process_time() - started < 5, "seconds of one core; a second on an idle machine"
    assert (sweep.total, len(commits)) == (5000, 1)
    assert len(statements) <= 10
    started = process_time()
    assert counts(store.cancel_sweep(sweep.id)) == {"cancelled": 5000}
    assert process_time() - started < 5
    assert len(commits) == 2
    assert len(statements) < 20


def fail_all(store, held) -> None:
    for claim in held:
        fail(store, claim, Failure("diverged", "cost was no longer finite"))


def test_a_retry_queues_a_new_job_in_place_of_each_that_failed(store, jobs_of, claim_as, worker):
    submission = sweep_of(name="n", tags={"a": "b"}, priority=60, device="cpu", max_runtime_seconds=9.0)
    sweep = store.submit_sweep(submission).sweep
    held = claim_as(worker, limit=3)
    finish(store, held[0], RESULT)
    fail_all(store, held[1:])
    store.cancel(jobs_of(sweep.id)[7].id)
    failed = jobs_of(sweep.id)[1:3]

    assert counts(store.retry_sweep(sweep.id)) == {"queued": 6, "succeeded": 1, "cancelled": 1}
    fresh = jobs_of(sweep.id)[8:]
    assert [job.parent_id for job in fresh] == [job.id for job in failed]
    for old, new in zip(failed, fresh, strict=True):
        assert (new.sweep_id, new.cell, new.repeat, new.spec) == (sweep.id, old.cell, old.repeat, old.spec)
        assert (new.name, new.tags, new.priority, new.device) == ("n", {"a": "b"}, 60, "cpu")
        assert (new.max_runtime_seconds, new.attempt, new.error, new.progress.step) == (9.0, 1, None, 0)
        assert store.get(old.id).status is JobStatus.FAILED
        assert store.events(old.id)[-1].why == f"retried as {new.id}"
        assert [each.why for each in store.events(new.id)] == [f"submitted by a retry of the sweep {sweep.id}"]


def test_a_retry_of_a_sweep_in_which_nothing_failed_changes_nothing(store, sweep, jobs_of, claim_as, worker):
    fail_all(store, claim_as(worker, limit=2))
    first = store.retry_sweep(sweep.id)
    store.cancel(jobs_of(sweep.id)[2].id)

    assert store.retry_sweep(sweep.id) == store.sweep(sweep.id)
    assert (first.total, len(jobs_of(sweep.id))) == (8, 10)


def test_what_fails_again_is_retried_again(store, jobs_of, claim, clock):
    sweep = store.submit_sweep(sweep_of(grid={}, repeats=1)).sweep
    for _ in range(3):
        fail_all(store, [claim()])
        assert counts(store.retry_sweep(sweep.id)) == {"queued": 1}
    chain = jobs_of(sweep.id)
    assert [job.parent_id for job in chain] == [None, *[job.id for job in chain[:-1]]]
    finish(store, claim(), RESULT)

    ended = store.retry_sweep(sweep.id)
    assert (counts(ended), ended.is_terminal) == ({"succeeded": 1}, True)


def test_when_a_retry_is_deleted_what_it_stood_for_counts_again(store, jobs_of, claim, clock):
    sweep = store.submit_sweep(sweep_of(grid={}, repeats=1)).sweep
    for _ in range(2):
        fail_all(store, [claim()])
        store.retry_sweep(sweep.id)
    first, second, third = jobs_of(sweep.id)
    store.cancel(third.id)

    store.delete(second.id)  # what lies between them
    assert counts(store.sweep(sweep.id)) == {"cancelled": 1}
    store.delete(third.id)
    assert counts(store.sweep(sweep.id)) == {"failed": 1}
    assert counts(store.retry_sweep(sweep.id)) == {"queued": 1}
    fourth = jobs_of(sweep.id)[-1]
    assert fourth.parent_id == first.id
    clock.advance(seconds=86_400)
    store.cancel(fourth.id)
    clock.advance(seconds=86_400)
    assert store.purge(days=1.5) == 1  # the first
    assert counts(store.sweep(sweep.id)) == {"cancelled": 1}
    assert store.purge(days=0.5) == 1
    with pytest.raises(SweepNotFound):
        store.sweep(sweep.id)


def test_purging_retries_brings_back_what_is_pinned(store, jobs_of, claim_as, worker, clock):
    sweep = store.submit_sweep(sweep_of()).sweep
    fail_all(store, claim_as(worker, limit=4))
    for job in jobs_of(sweep.id)[:4]:
        store.update(job.id, JobChanges(pinned=True))
    store.retry_sweep(sweep.id)
    store.cancel_sweep(sweep.id)
    clock.advance(seconds=2 * 86_400)

    assert store.purge(days=1) == 8
    assert counts(store.sweep(sweep.id)) == {"failed": 4}


def test_two_who_retry_a_sweep_at_once_queue_each_job_once(opened, store, jobs_of, claim_as, worker):
    stores = [JobStore(opened()) for _ in range(4)]
    sweep = store.submit_sweep(sweep_of(repeats=5)).sweep
    for attempt in range(1, 4):
        while held := claim_as(worker, limit=20):
            fail_all(store, held)
        together = threading.Barrier(len(stores))
        answers: list[dict[str, int]] = []

        def retry(own: JobStore, together: threading.Barrier = together, answers: list = answers) -> None:
            together.wait()
            answers.append(counts(own.retry_sweep(sweep.id)))

        threads = [threading.Thread(target=retry, args=(own,)) for own in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert answers == [{"queued": 20}] * 4
        assert len(jobs_of(sweep.id)) == 20 * (attempt + 1)


def test_a_retry_while_failed_jobs_are_deleted_counts_each_place_once(opened, store, jobs_of, claim_as, worker):
    retrying, deleting = JobStore(opened()), JobStore(opened())
    errors: list[Exception] = []
    for _ in range(5):
        sweep = store.submit_sweep(sweep_of(repeats=3)).sweep
        fail_all(store, claim_as(worker, limit=12))
        store.retry_sweep(sweep.id)
        fail_all(store, claim_as(worker, limit=12))
        together = threading.Barrier(2)

        def retry(sweep_id: str, together: threading.Barrier = together) -> None:
            together.wait()
            retrying.retry_sweep(sweep_id)

        def delete(job_ids: list[str], together: threading.Barrier = together) -> None:
            together.wait()
            for job_id in job_ids:
                deleting.delete(job_id)

        def noted(work: Callable[[object], None], argument: object) -> None:
            try:
                work(argument)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
                errors.append(error)

        gone = [job.id for job in jobs_of(sweep.id)[::-3]]
        threads = [threading.Thread(target=noted, args=task) for task in ((retry, sweep.id), (delete, gone))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        newest = {(job.cell, job.repeat): job.status.value for job in jobs_of(sweep.id)}
        assert counts(store.sweep(sweep.id)) == dict(Counter(newest.values()))
        store.cancel_sweep(sweep.id)


@pytest.mark.parametrize("gone", [(1, 2), (0, 2), (0, 1, 2)])
def test_whoever_deletes_retries_at_once_the_newest_that_is_left_counts(opened, jobs_of, store, claim, gone):
    stores = [JobStore(opened()) for _ in gone]
    errors: list[Exception] = []
    for _ in range(10):
        sweep = store.submit_sweep(sweep_of(grid={}, repeats=1)).sweep
        for _ in range(2):
            fail_all(store, [claim()])
            store.retry_sweep(sweep.id)
        store.cancel_sweep(sweep.id)
        chain = jobs_of(sweep.id)
        together = threading.Barrier(len(gone))

        def delete(own: JobStore, job_id: str, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                own.delete(job_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
                errors.append(error)

        pairs = zip(stores, [chain[place].id for place in gone], strict=True)
        threads = [threading.Thread(target=delete, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        if len(gone) < len(chain):
            assert counts(store.sweep(sweep.id)) == {"failed": 1}
            store.delete(jobs_of(sweep.id)[0].id)
    assert store.sweeps().items == ()


def test_5000_failed_jobs_are_retried_in_one_transaction_with_few_statements(opened):
    database = opened()
    store = JobStore(database)
    grid = {"learning_rate": [rate / 1000 for rate in range(1, 5001)]}
    sweep = store.submit_sweep(sweep_of(grid=grid, repeats=1)).sweep
    with database.write() as tx:
        tx.execute(update(jobs).values(status="failed"))
    commits, statements = [], []
    event.listen(database.engine, "commit", commits.append)
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    started = process_time()
    assert counts(store.retry_sweep(sweep.id)) == {"queued": 5000}
    assert process_time() - started < 3, "seconds of one core; there should be one at most"
    assert (len(commits), len(statements) <= 15) == (1, True)
