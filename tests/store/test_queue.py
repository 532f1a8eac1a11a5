"""The queue: whose turn it is, who is taken along, and what a waiting job is told."""

import threading

import pytest
from sqlalchemy import event, insert, select, text

from costcurve.core.submission import JobChanges
from costcurve.store import JobStore
from costcurve.store.job_update import JobUpdate
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import jobs
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, points, progress
from tests.helpers.writing import finish, hand_back, record


def test_the_first_job_of_the_highest_priority_is_claimed_first(submit, claim):
    low, first, second = submit(priority=1), submit(priority=60), submit(priority=60)

    assert [claim().job_id for _ in range(3)] == [first.id, second.id, low.id]
    assert claim() is None


def test_each_of_many_jobs_is_claimed_by_exactly_one_of_many_workers(store, submit, opened):
    expected = {submit().id for _ in range(60)}
    claimed: list[str] = []

    def work(name: str) -> None:
        own = JobStore(opened())
        own.register_worker(name, host="here", pid=0, device="cpu")
        while held := own.claim(name, engines=ENGINES, devices=CPU, choose=choose(3)):
            claimed.extend(each.job_id for each in held)
            own.write([JobUpdate(each, outcome=RESULT) for each in held])

    threads = [threading.Thread(target=work, args=(f"wrk_{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(expected)
    assert set(claimed) == expected


def test_conditions_of_partial_indexes_are_written_out(submit, claim_as, hire, store):
    """A plan that PostgreSQL keeps for any status does not use the index of one."""
    asked: list[str] = []
    event.listen(store._database.engine, "before_cursor_execute", lambda _c, _k, sql, *_: asked.append(sql))
    submit()
    worker = hire()
    claim_as(worker, limit=2)
    claim_as(worker, limit=2)

    in_line = [sql for sql in asked if "ORDER BY jobs.queue_rank" in sql]
    held = [sql for sql in asked if "attempts.ended_at IS NULL" in sql]
    assert (len(in_line) > 0, len(held) > 0) == (True, True)
    assert all("jobs.status = 'queued'" in sql for sql in in_line)
    assert all("jobs.status = 'running'" in sql for sql in held)


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
            index = "ix_jobs_fair" if "jobs.project_pk = ?" in sql else "ix_jobs_queue"
            assert f"INDEX {index} (requested_device=? AND requested_engine=?" in step.detail


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_claim_does_not_read_the_jobs_before_it_that_others_must_train(store, submit, worker, opened):
    submit()
    database = opened()
    with database.write() as tx:
        job = dict(tx.execute(select(jobs)).one()._mapping)
        del job["pk"]
        for first, device in ((0, "cuda"), (3000, "auto")):
            numbers = range(first, first + 3000)
            job["requested_device"] = device
            tx.execute(insert(jobs), [{**job, "id": f"job_{n}", "queue_rank": float(n)} for n in numbers])
        tx.execute(text("ANALYZE jobs"))  # as the server does by itself sooner or later

    asked: list[tuple[str, dict]] = []
    event.listen(
        store._database.engine, "before_cursor_execute", lambda _c, _k, sql, given, *_: asked.append((sql, given))
    )
    assert len(store.claim(worker, engines=ENGINES, devices=CPU, choose=choose(8))) == 8
    claims = [each for each in asked if "ORDER BY jobs.queue_rank" in each[0]]
    assert len(claims) > len(CPU) * len(ENGINES) + 1
    with database.write() as tx:
        for sql, given in claims:
            plan = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", given).scalar_one()
            assert dropped(plan[0]["Plan"]) <= 20, plan


def dropped(plan: dict) -> int:
    """How many rows the database read in vain."""
    return plan.get("Rows Removed by Filter", 0) + sum(dropped(part) for part in plan.get("Plans", ()))


def test_waiting_a_minute_counts_as_much_as_one_more_of_priority(submit, claim, clock):
    long_waiting = submit(priority=50)
    clock.advance(seconds=61)
    urgent = submit(priority=51)
    assert [claim().job_id, claim().job_id] == [long_waiting.id, urgent.id]

    waiting = submit(priority=50)
    clock.advance(seconds=59)
    urgent = submit(priority=51)
    assert [claim().job_id, claim().job_id] == [urgent.id, waiting.id]


def test_of_two_whose_turn_is_equally_due_the_one_submitted_first_is_next(submit, claim, clock):
    first = submit(priority=50)
    clock.advance(seconds=60)
    second = submit(priority=51)

    assert [claim().job_id, claim().job_id] == [first.id, second.id]


def test_nobody_starves_under_a_stream_of_urgent_jobs(submit, claim, clock):
    lowly = submit(priority=0)
    claimed = []
    for _ in range(110):  # a job of the highest priority each minute, and one worker that trains one a minute
        submit(priority=100)
        claimed.append(claim().job_id)
        clock.advance(seconds=60)

    assert lowly.id in claimed


def test_each_waiting_job_knows_its_place_in_the_queue(store, submit, claim, clock):
    last, first, middle = submit(priority=10), submit(priority=90), submit(priority=50)
    held = claim()
    assert held.job_id == first.id
    paused = submit(priority=99)
    store.pause(paused.id)
    other = submit(priority=60, device="cuda")

    assert [store.get(job.id).queue_position for job in (other, middle, last)] == [1, 2, 3]
    assert [store.get(job.id).queue_position for job in (first, paused)] == [None, None]
    listed = {job.id: job.queue_position for job in store.list(JobQuery()).items}
    assert listed == {other.id: 1, middle.id: 2, last.id: 3, first.id: None, paused.id: None}
    some = store.list(JobQuery(order="created_at", limit=1)).items
    assert [job.queue_position for job in some] == [3]


def test_a_changed_priority_moves_a_job_in_the_queue(store, submit, claim):
    first, second, third = submit(), submit(), submit()

    assert store.update(third.id, JobChanges(priority=51)).queue_position == 1
    assert store.update(first.id, JobChanges(priority=49)).queue_position == 3
    assert store.update(second.id, JobChanges(name="renamed")).queue_position == 2
    assert [claim().job_id for _ in range(3)] == [third.id, second.id, first.id]


def test_a_job_that_was_moved_waits_no_shorter_for_it(store, submit, clock):
    early = submit(priority=50)
    clock.advance(seconds=30)
    late = submit(priority=50)
    store.update(early.id, JobChanges(priority=10))
    store.update(early.id, JobChanges(priority=50))

    assert (store.get(early.id).queue_position, store.get(late.id).queue_position) == (1, 2)


def test_a_job_handed_back_waits_where_it_stood(store, submit, claim):
    first, second = submit(), submit()
    held = claim()
    assert store.get(second.id).queue_position == 1
    hand_back(store, held, reason="told to stop")

    assert (store.get(first.id).queue_position, store.get(second.id).queue_position) == (1, 2)


def test_a_waiting_job_says_why_it_waits(store, submit, hire, claim, clock):
    def why(job) -> str:
        return store.get(job.id).status_reason

    first, second, third, cuda = submit(), submit(), submit(), submit(device="cuda")
    store.retire_worker("wrk_1", reason="told to stop", crashed=False)
    assert why(first) == why(cuda) == "no worker is alive"
    hire(lease_seconds=60, engines=["autograd"])
    assert why(first) == "next in line for a free worker"
    assert why(second) == "1 job is before it"
    assert why(third) == "2 jobs are before it"
    assert why(cuda) == "no live worker has a CUDA device"
    fused = submit({"experiment": "mnist"}, engine="fused_cpu")
    assert why(fused) == "no live worker has the engine fused_cpu"
    hire(device="cuda:0", lease_seconds=60)
    assert why(cuda) == "3 jobs are before it"
    clock.advance(seconds=61)
    assert why(first) == why(cuda) == "no worker is alive"
    store.pause(second.id)
    store.resume(second.id)
    assert why(second) == "resumed by its client; no worker is alive"


def test_only_jobs_whose_training_has_the_same_shape_are_taken_together(store, submit, hire, claim_as):
    mnist = {"experiment": "mnist"}
    shapes = [
        submit(mnist),
        submit({**mnist, "batch_size": 20}),
        submit({**mnist, "layers": [784, 10]}),
        submit({"experiment": "neuron"}),
        submit(mnist, engine="autograd"),
        submit(mnist, device="cpu"),
    ]
    twins = [submit({**mnist, "loss": "quadratic", "learning_rate": 0.5, "epochs": 3, "seed": 7}), submit(mnist)]

    packs = [{each.job_id for each in claim_as(hire(), limit=8)} for _ in shapes]
    assert packs == [{shapes[0].id, twins[0].id, twins[1].id}, *({job.id} for job in shapes[1:])]


def test_a_pack_is_the_first_in_the_queue_and_no_larger_than_asked_for(submit, hire, claim_as):
    jobs = [submit(priority=priority) for priority in (50, 90, 70, 60, 80)]
    order = [jobs[index].id for index in (1, 4, 2, 3, 0)]

    assert [each.job_id for each in claim_as(hire(), limit=3)] == order[:3]
    assert [each.job_id for each in claim_as(hire(), limit=3)] == order[3:]
    assert not claim_as(hire(), limit=3)


def test_of_what_a_worker_can_train_the_first_in_line_comes_first(store, submit, hire):
    submit(device="cuda")
    second, third = submit(device="cpu"), submit()

    claims = [store.claim(hire(), engines=ENGINES, devices=CPU, choose=choose(8)) for _ in range(2)]
    assert [[each.job_id for each in held] for held in claims] == [[second.id], [third.id]]


def test_each_lane_of_a_pack_has_its_own_claim(store, submit, hire, claim_as, cost):
    jobs = [submit() for _ in range(3)]
    held = claim_as(hire(), limit=3)
    for number, each in enumerate(held):
        record(store, each, progress(1), points(0, float(number)))
    finish(store, held[0], RESULT)

    assert len({each.attempt_pk for each in held}) == 3
    assert [cost(job.id) for job in jobs] == [[0.0], [1.0], [2.0]]
