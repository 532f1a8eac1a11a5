"""The cells of a sweep in the store: what their jobs came to, which is best, page by page."""

import statistics

import pytest

from costcurve.core.errors import InvalidRequest, SweepNotFound
from costcurve.core.job import Failure
from costcurve.core.status import JobStatus
from costcurve.core.sweep import Sweep, SweepSubmission
from costcurve.store.pagination import CellQuery, JobQuery
from tests.helpers.reports import RESULT, mnist_result
from tests.helpers.writing import fail, finish


@pytest.fixture
def queue_sweep(store):
    def queue_sweep(experiment: str, grid: dict, repeats: int = 1, **spec: object) -> Sweep:
        given = {"spec": {"experiment": experiment, **spec}, "grid": grid, "repeats": repeats}
        return store.submit_sweep(SweepSubmission.model_validate(given)).sweep

    return queue_sweep


@pytest.fixture
def train(store, claim):
    """End the next jobs in turn: an MNIST job with so many correct, a neuron at this output, or with a failure."""

    def train(*ends: float | Failure) -> None:
        for end in ends:
            held = claim()
            if isinstance(end, Failure):
                fail(store, held, end)
            elif held.spec.experiment == "neuron":
                finish(store, held, RESULT.model_copy(update={"final_output": end}))
            else:
                finish(store, held, mnist_result(end))

    return train


DIVERGED = Failure("diverged", "cost was no longer finite")
LOSSES = {"loss": ["quadratic", "cross_entropy"]}


def test_each_cell_tells_what_it_sets_and_what_its_jobs_came_to(store, queue_sweep, train):
    sweep = queue_sweep("mnist", LOSSES | {"epochs": [5, 6]}, repeats=3, seed=7)
    train(9000, 9100, 9200, 9300, 9010, DIVERGED, 9220, 9300)
    ids = {(job.cell, job.repeat): job.id for job in store.list(JobQuery(sweep_id=sweep.id, limit=12)).items}
    page = store.cells(sweep.id, CellQuery(order="cell"))

    assert (page.ranking.figure, page.ranking.better, page.next_cursor) == ("best_accuracy", "higher", None)
    assert [cell.cell for cell in page.items] == [0, 1, 2, 3]
    assert [cell.settings for cell in page.items] == [
        {"loss": loss, "epochs": epochs} for loss in LOSSES["loss"] for epochs in (5, 6)
    ]
    assert [cell.rank for cell in page.items] == [4, 3, 2, 1]
    first, second, *_ = page.items
    assert [(job.id, job.repeat, job.seed, job.status, job.score) for job in first.jobs] == [
        (ids[0, 0], 0, 7, JobStatus.SUCCEEDED, 0.9),
        (ids[0, 1], 1, 8, JobStatus.SUCCEEDED, 0.901),
        (ids[0, 2], 2, 9, JobStatus.QUEUED, None),
    ]
    assert {status.value: count for status, count in second.counts.items() if count} == {
        "succeeded": 1,
        "failed": 1,
        "queued": 1,
    }
    accuracy = first.figures["best_accuracy"]
    assert (accuracy.n, accuracy.mean, accuracy.min, accuracy.max) == (2, pytest.approx(0.9005), 0.9, 0.901)
    assert accuracy.stdev == statistics.stdev([0.9, 0.901])
    assert second.figures["best_accuracy"].stdev is None
    assert first.figures["best_correct"].mean == 9005
    assert set(first.figures) == {
        *("final_cost", "train_seconds", "final_correct", "final_accuracy"),
        *("best_correct", "best_accuracy", "best_epoch", "epochs_trained"),
    }


def test_cells_are_compared_with_the_best_seed_by_seed(store, queue_sweep, train):
    sweep = queue_sweep("mnist", {"loss": ["quadratic", "cross_entropy"]}, repeats=3)
    train(9000, 9100, 9100, 9250, 9200, DIVERGED)
    best, other = store.cells(sweep.id, CellQuery()).items

    assert (best.cell, other.cell) == (1, 0)
    assert (other.difference.to_cell, other.difference.n) == (1, 2)
    assert other.difference.mean == pytest.approx(-0.0125)
    assert other.difference.stdev == pytest.approx(statistics.stdev([-0.01, -0.015]))
    assert other.difference.standard_error == pytest.approx(other.difference.stdev / 2**0.5)
    assert (best.difference.to_cell, best.difference.mean, best.difference.stdev) == (1, 0, 0)


def test_cells_with_other_seeds_have_nothing_in_common(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {"seed": [0, 2**63 - 1]})
    train(0.2, 0.1)
    best, other = store.cells(sweep.id, CellQuery()).items

    assert (best.jobs[0].seed, other.jobs[0].seed) == (2**63 - 1, 0)
    assert (best.difference.n, other.difference) == (1, None)


def test_neurons_are_ranked_by_how_near_they_came_to_their_targets(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {"target": [0.0, 0.5, 1.0]})
    train(0.1, 0.45, 0.7)
    page = store.cells(sweep.id, CellQuery())

    assert (page.ranking.figure, page.ranking.better) == ("target_distance", "lower")
    assert [cell.cell for cell in page.items] == [1, 0, 2]
    assert [cell.jobs[0].score for cell in page.items] == [pytest.approx(each) for each in (0.05, 0.1, 0.3)]
    assert page.items[0].figures["final_output"].mean == 0.45


def test_pages_of_cells_in_each_order_make_up_the_whole(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {"epochs": [*range(1, 12)]})
    train(*[abs(5 - epochs) / 10 for epochs in range(1, 9)])

    for order, expected in (("rank", [4, 3, 5, 2, 6, 1, 7, 0, 8, 9, 10]), ("cell", [*range(11)])):
        found, cursor = [], None
        while not found or cursor is not None:
            page = store.cells(sweep.id, CellQuery(order=order, limit=4, cursor=cursor))
            found += page.items
            cursor = page.next_cursor
        assert [cell.cell for cell in found] == expected
        assert found == list(store.cells(sweep.id, CellQuery(order=order)).items)
    assert [cell.rank for cell in found] == [8, 6, 4, 2, 1, 3, 5, 7, None, None, None]


def test_some_cells_are_picked_by_their_numbers_and_keep_their_ranks(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {"epochs": [1, 2, 3]})
    train(0.3, 0.1, 0.2)

    page = store.cells(sweep.id, CellQuery(cells=frozenset({0, 2})))
    assert [(cell.cell, cell.rank) for cell in page.items] == [(2, 2), (0, 3)]
    assert page.items[0].difference.to_cell == 1
    with pytest.raises(InvalidRequest, match="this sweep has no cell 3; its 3 cells are counted from 0"):
        store.cells(sweep.id, CellQuery(cells=frozenset({0, 3})))


@pytest.mark.parametrize(
    "cursor", ["", "x", "WyJjZWxscyIsInJhbmsiLGZhbHNlLE5hTiwwLDBd", "WyJjZWxscyIsInJhbmsiLDEsMC4wLDAsMF0"]
)
def test_a_cursor_that_no_page_of_cells_gave_is_refused(store, queue_sweep, cursor):
    sweep = queue_sweep("neuron", {"epochs": [1, 2, 3]})
    of_other_order = store.cells(sweep.id, CellQuery(order="cell", limit=1)).next_cursor

    for given in (cursor, of_other_order):
        with pytest.raises(InvalidRequest) as caught:
            store.cells(sweep.id, CellQuery(cursor=given))
        assert caught.value.errors[0].pointer == "/query/cursor"


def test_of_a_repeat_that_was_retried_the_newest_job_counts(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {}, repeats=2)
    train(0.3, DIVERGED)
    store.retry_sweep(sweep.id)
    train(0.1)
    [cell] = store.cells(sweep.id, CellQuery()).items

    assert [(job.repeat, job.seed, job.status, job.score) for job in cell.jobs] == [
        (0, 0, JobStatus.SUCCEEDED, 0.3),
        (1, 1, JobStatus.SUCCEEDED, 0.1),
    ]
    assert cell.figures["final_output"].mean == pytest.approx(0.2)


def test_a_cell_whose_jobs_are_all_deleted_is_still_a_cell(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {"epochs": [1, 2]})
    train(0.3)
    store.delete(store.list(JobQuery(sweep_id=sweep.id, status=(JobStatus.SUCCEEDED,))).items[0].id)
    page = store.cells(sweep.id, CellQuery())

    assert [(cell.cell, cell.rank, len(cell.jobs), dict(cell.figures)) for cell in page.items] == [
        (0, None, 0, {}),
        (1, None, 1, {}),
    ]
    assert [cell.difference for cell in page.items] == [None, None]


def test_a_page_of_cells_brings_the_sweep_as_it_stands(store, queue_sweep, train):
    sweep = queue_sweep("neuron", {"epochs": [1, 2, 3]})
    train(0.3, 0.1)
    page = store.cells(sweep.id, CellQuery(limit=2))

    assert page.sweep == store.sweep(sweep.id)
    assert [cell.cell for cell in page.items] == [1, 0]
    assert store.cells(sweep.id, CellQuery(limit=0)).items == ()


def test_an_unknown_sweep_has_no_cells(store):
    for sweep_id in ("swp_0", "swp\0"):
        with pytest.raises(SweepNotFound):
            store.cells(sweep_id, CellQuery())
