"""Curves with a point for each hundred steps: written, cut and read beside those with a point for each epoch."""

import pytest
from sqlalchemy import func, select

from costcurve.core.curve import Curve
from costcurve.core.errors import ClaimLost, UnknownMetric
from costcurve.core.job import Progress
from costcurve.store.job_update import JobUpdate, Restart
from costcurve.store.schema import step_runs
from tests.helpers.reports import mnist_result, points, progress, steps
from tests.helpers.writing import finish, hand_back, restart, written

MNIST = {"experiment": "mnist"}


def at(step: int, *, epoch: int = 0) -> Progress:
    return Progress(epoch=epoch, epochs=30, step=step, steps=150_000, eta_seconds=None)


@pytest.fixture
def step_cost(store):
    """The cost by steps, as far as it is recorded, from the first on."""

    def step_cost(job_id: str) -> list[float]:
        page = store.curve(job_id, granularity="step", metrics=("cost",), limit=10_000)
        assert page.curve.start == 0
        return page.curve.series["cost"]

    return step_cost


def test_both_curves_of_a_write_are_there_or_neither(store, submit, claim, cost, step_cost):
    job = submit(MNIST)
    held = claim()
    written(store, JobUpdate(held, at(200, epoch=1), points(0, 9.0), steps=steps(0, 1.0, 0.5)))
    with pytest.raises(TypeError):
        written(store, JobUpdate(held, at(300, epoch=2), points(1, 8.0), steps=Curve(2, {"cost": ["no number"]})))

    assert (cost(job.id), step_cost(job.id), store.get(job.id).progress.step) == ([9.0], [1.0, 0.5], 200)


def test_step_points_are_read_by_step(store, submit, claim):
    job = submit(MNIST)
    held = claim()
    for number in range(10):
        written(store, JobUpdate(held, at(100 * (number + 1)), steps=steps(number, float(number))))

    def read(**bounds):
        page = store.curve(job.id, granularity="step", metrics=("cost",), **{"limit": 1000, **bounds})
        assert page.curve.series["cost"] == [x / 100 for x in page.x]
        return list(page.x), page.total_points, page.next_from

    assert read() == (list(range(0, 1000, 100)), 10, 1000)
    assert read(first=250, last=599) == ([300, 400, 500], 3, 600)
    assert read(first=300, last=300) == ([300], 1, 400)
    assert read(first=301, last=399) == ([], 0, 400)
    assert read(first=900) == ([900], 1, 1000)
    assert read(first=1000) == ([], 0, 1000)
    assert read(limit=3) == ([0, 100, 200], 10, 300)
    assert store.curve(job.id, granularity="step", limit=10).known == ("cost", "cost_min", "cost_max")
    with pytest.raises(UnknownMetric):
        store.curve(job.id, granularity="step", metrics=("accuracy",), limit=10)


def test_the_steps_of_a_neuron_are_its_epochs(store, submit, claim):
    job = submit()
    written(store, JobUpdate(claim(), progress(2), points(0, 1.0, 0.5)))

    assert store.curve(job.id, granularity="step", limit=10) == store.curve(job.id, limit=10)


def test_a_job_goes_on_from_its_checkpoint_with_both_curves_cut_to_it(store, submit, hire, claim_as, cost, step_cost):
    job = submit(MNIST)
    worker = hire()
    [first] = claim_as(worker)
    written(store, JobUpdate(first, at(250, epoch=2), points(0, 0.0, 1.0), "at-250", steps=steps(0, 0.0, 1.0)))
    written(store, JobUpdate(first, at(430, epoch=3), points(2, 2.0), steps=steps(2, 2.0, 3.0)))
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)
    assert step_cost(job.id) == [0.0, 1.0, 2.0, 3.0]  # shown until somebody trains it anew

    [second] = claim_as(hire())
    assert (cost(job.id), step_cost(job.id)) == ([0.0, 1.0], [0.0, 1.0])
    written(store, JobUpdate(second, at(300, epoch=2), steps=steps(2, -2.0)))
    assert step_cost(job.id) == [0.0, 1.0, -2.0]


@pytest.mark.parametrize("by", ["restart", "claim"])
def test_a_job_that_begins_anew_loses_both_curves(store, submit, claim, cost, step_cost, by):
    job = submit(MNIST)
    held = claim()
    written(store, JobUpdate(held, at(100, epoch=1), points(0, 0.0), steps=steps(0, 0.0)))
    if by == "restart":
        restart(store, held, why="begins anew, as the file is gone")
    else:
        hand_back(store, held, reason="told to stop")
        held = claim()

    assert (cost(job.id), step_cost(job.id)) == ([], [])
    written(store, JobUpdate(held, at(100), steps=steps(0, 5.0)))
    assert step_cost(job.id) == [5.0]


def test_step_points_written_twice_are_kept_once_and_those_of_a_lost_lane_never(store, submit, claim, step_cost):
    job = submit(MNIST)
    stale = claim()
    for _ in range(2):
        written(store, JobUpdate(stale, at(200), checkpoint="at-200", steps=steps(0, 1.0, 0.5)))
    hand_back(store, stale, reason="told to stop")
    fresh = claim()
    with pytest.raises(ClaimLost):
        written(store, JobUpdate(stale, at(300), steps=steps(2, 9.0)))
    written(store, JobUpdate(fresh, at(300), steps=steps(2, 0.25)))

    assert step_cost(job.id) == [1.0, 0.5, 0.25]


def test_in_one_write_each_job_keeps_its_own_steps(store, submit, claim_as, worker, step_cost):
    ids = [submit(MNIST).id for _ in range(3)]
    held = claim_as(worker, 3)
    store.write([JobUpdate(each, at(100), steps=steps(0, float(i))) for i, each in enumerate(held)])
    store.write(
        [
            JobUpdate(held[0], at(200), outcome=mnist_result(9000), steps=steps(1, 7.0)),
            JobUpdate(held[1], outcome=Restart("begins anew")),
            JobUpdate(held[2], at(150)),
        ]
    )

    assert [step_cost(job_id) for job_id in ids] == [[0.0, 7.0], [], [2.0]]


def test_a_deleted_job_takes_its_steps_with_it(store, submit, claim, opened):
    job = submit(MNIST)
    held = claim()
    written(store, JobUpdate(held, at(100), steps=steps(0, 1.0)))
    finish(store, held, mnist_result(9000))
    store.delete(job.id)

    with opened().read() as tx:
        assert tx.scalar(select(func.count()).select_from(step_runs)) == 0


def test_where_there_are_no_step_points_there_are_no_statements_for_them(store, submit, claim, statements):
    neuron, network = submit(), submit(MNIST)
    held = {claimed.job_id: claimed for claimed in (claim(), claim())}

    def asked(write: JobUpdate) -> int:
        before = statements["statements"]
        written(store, write)
        return statements["statements"] - before

    without = asked(JobUpdate(held[neuron.id], progress(1), points(0, 1.0)))
    assert asked(JobUpdate(held[network.id], at(50), points(0, 1.0))) == without
    assert asked(JobUpdate(held[network.id], at(100), points(1, 1.0), steps=steps(0, 1.0))) == without + 2


def test_a_job_of_an_older_version_has_fewer_metrics_and_a_newer_one_may_add_some_on_the_way(store, submit, claim):
    job = submit()
    held = claim()
    assert store.curve(job.id, limit=1).known[:2] == ("cost", "output")
    written(store, JobUpdate(held, progress(1), Curve(0, {"cost": [1.0], "output": [0.5]})))
    assert store.curve(job.id, limit=1).known == ("cost", "output")
    with pytest.raises(UnknownMetric, match=r"bias is not recorded; known: cost, output$"):
        store.curve(job.id, metrics=("bias",), limit=1)

    written(store, JobUpdate(held, progress(2), Curve(1, {"cost": [0.5], "bias": [2.0], "output": [0.25]})))
    page = store.curve(job.id, limit=10)
    assert page.known == ("cost", "output", "bias")
    assert (page.curve.series["cost"], page.curve.series["output"]) == ([1.0, 0.5], [0.5, 0.25])
    assert page.curve.series["bias"][1:] == [2.0]
    assert page.curve.series["bias"][0] != page.curve.series["bias"][0]  # NaN
    assert store.curve(job.id, metrics=("bias",), first=1, limit=10).curve.series == {"bias": [2.0]}
