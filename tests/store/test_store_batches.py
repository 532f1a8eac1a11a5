"""Many jobs in one worker's hands: claimed together, written about together, and each fenced by itself."""

from collections import Counter

from sqlalchemy import select

from costcurve.core.errors import ClaimLost
from costcurve.core.job import Claim, EngineChoice, ExecProfile, Failure, Request
from costcurve.core.status import JobStatus
from costcurve.store.job_update import HandBack, JobUpdate, Restart
from costcurve.store.schema import attempts
from tests.helpers.reports import CPU, ENGINES, RESULT, points, progress
from tests.helpers.writing import finish, hand_back

PROFILE = ExecProfile(engine="autograd", device="cpu", instruction_set="avx2", threads=1, versions={"torch": "2"})


def test_a_job_tells_what_decides_its_bits_while_it_is_trained_and_ever_after(store, submit, worker):
    job = submit()

    def claim() -> Claim:
        return store.claim(
            worker, engines=ENGINES, devices=CPU, choose=lambda *_: EngineChoice("autograd", profile=PROFILE)
        )[0]

    held = claim()
    assert (held.profile, store.get(job.id).exec_profile) == (PROFILE, PROFILE)
    hand_back(store, held, reason="told to stop")
    assert store.get(job.id).exec_profile is None
    finish(store, claim(), RESULT)
    assert store.get(job.id).exec_profile == PROFILE


def test_one_write_brings_jobs_to_every_kind_of_end(store, submit, claim_as, worker, cost, opened):
    jobs = [submit() for _ in range(7)]
    held = claim_as(worker, 7)
    turns = [None, RESULT, Failure("diverged", "no longer finite"), HandBack("told to stop"), Restart("begins anew")]
    turns += [Request.CANCEL, Request.PAUSE]
    store.cancel(jobs[5].id)
    store.pause(jobs[6].id)
    for each in held:
        store.write([JobUpdate(each, progress(1), points(0, 9.0), checkpoint="at-1")])
    writes = [
        JobUpdate(each, outcome=turn)
        if isinstance(turn, Restart)
        else JobUpdate(each, progress(2), points(1, 0.5), outcome=turn)
        for each, turn in zip(held, turns, strict=True)
    ]

    assert store.write(writes) == [None] * 7
    seen = [store.get(job.id) for job in jobs]
    assert [job.status for job in seen] == [
        JobStatus.RUNNING,
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.QUEUED,
        JobStatus.RUNNING,
        JobStatus.CANCELLED,
        JobStatus.PAUSED,
    ]
    assert [job.progress.eta_seconds for job in seen] == [1.5, *[None] * 3, 1.5, None, None]
    assert [cost(job.id) for job in jobs] == [[9.0, 0.5]] * 4 + [[]] + [[9.0, 0.5]] * 2
    assert [store.events(job.id)[-1].why for job in jobs[1:]] == [
        "training ended",
        "no longer finite",
        "told to stop",
        "begins anew",
        "cancelled on request",
        "paused on request",
    ]
    with opened().read() as tx:
        outcomes = tx.scalars(select(attempts.c.outcome).order_by(attempts.c.pk)).all()
    assert outcomes == [
        *(None, "succeeded", "failed: diverged", "told to stop", None, "cancelled"),
        "paused at its client's request",
    ]


def test_each_lane_is_told_what_its_own_client_has_asked_for(store, submit, claim_as, worker):
    jobs = [submit() for _ in range(3)]
    held = claim_as(worker, 3)
    store.cancel(jobs[0].id)
    store.pause(jobs[2].id)

    writes = [JobUpdate(each, progress(1), points(0, 1.0)) for each in held]
    assert store.write(writes) == [Request.CANCEL, None, Request.PAUSE]


def test_a_lane_that_was_lost_does_not_disturb_the_others(store, submit, hire, claim_as, cost):
    jobs = [submit() for _ in range(4)]
    first = hire()
    held = claim_as(first, 4)
    store.write([JobUpdate(held[1], outcome=HandBack("told to stop"))])
    [taken] = claim_as(hire(), 1)
    answers = store.write([JobUpdate(each, progress(2), points(0, 1.0, 2.0), outcome=RESULT) for each in held])

    assert [type(answer) for answer in answers] == [type(None), ClaimLost, type(None), type(None)]
    assert jobs[1].id in str(answers[1])
    assert [store.get(job.id).status.value for job in jobs] == ["succeeded", "running", "succeeded", "succeeded"]
    assert [len(cost(job.id)) for job in jobs] == [2, 0, 2, 2]
    assert store.write([JobUpdate(taken, progress(1), points(0, 5.0))]) == [None]
    assert cost(jobs[1].id) == [5.0]


def test_hundreds_of_jobs_are_claimed_and_finished_in_as_few_statements_as_ten(
    store, submit, claim_as, worker, statements
):
    def count(jobs: int) -> Counter:
        for _ in range(jobs):
            submit()
        statements.clear()
        held = claim_as(worker, jobs)
        assert len(held) == jobs
        store.write([JobUpdate(each, progress(300), points(0, *[0.5] * 301), outcome=RESULT) for each in held])
        return Counter(statements)

    few = count(10)
    assert count(200) == few
    assert few["transactions"] == 3


def test_how_many_are_taken_depends_on_what_the_first_in_line_is(store, submit, hire):
    neuron, network = {"experiment": "neuron"}, {"experiment": "mnist"}
    for spec in (neuron, network, network, neuron, neuron):
        submit(spec)
    asked = []

    def choose(spec, requested: str, device: str) -> EngineChoice:
        asked.append((spec.experiment, requested, device))
        if spec.experiment == "neuron":
            return EngineChoice("many", at_once=100)
        return EngineChoice("one", remark="because the other is missing here")

    def claim() -> list[tuple[str, str]]:
        held = store.claim(hire(), engines=ENGINES, devices=CPU, choose=choose)
        return [(each.spec.experiment, each.engine) for each in held]

    assert [claim(), claim(), claim(), claim()] == [
        [("neuron", "many")] * 3,
        [("mnist", "one")],
        [("mnist", "one")],
        [],
    ]
    assert set(asked) == {("neuron", "auto", "cpu"), ("mnist", "auto", "cpu")}


def test_a_job_says_with_what_it_is_trained_and_why_with_nothing_better(store, submit, worker):
    job = submit()
    remark = "because fused_cpu is missing here (no compiler)"
    store.claim(worker, engines=ENGINES, devices=CPU, choose=lambda *_: EngineChoice("autograd", remark=remark))

    seen = store.get(job.id)
    assert (seen.engine, seen.status_reason) == ("autograd", f"trained with autograd, {remark}")
    assert store.events(job.id)[-1].why == f"attempt 1, with autograd on cpu, {remark}, from the beginning"


def test_a_claim_of_a_deleted_job_writes_nothing_beside_the_claim_that_has_its_number_now(store, submit, claim):
    first = submit()
    stale = claim()
    finish(store, stale, RESULT)
    store.delete(first.id)
    submit()
    held = claim()  # on SQLite the attempt has the number of the one that was deleted
    answers = store.write([JobUpdate(stale, progress(9), points(0, 9.0)), JobUpdate(held, progress(1), points(0, 1.0))])

    assert isinstance(answers[0], ClaimLost)
    assert answers[1] is None
    assert store.get(held.job_id).progress.step == 1
    assert store.curve(held.job_id, limit=10).curve.series["cost"] == [1.0]
