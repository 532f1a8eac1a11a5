"""Lists of jobs: filters, orders, pages and cursors."""

import base64

import pytest

from costcurve.core.errors import InvalidRequest, JobNotFound, SweepNotFound
from costcurve.core.status import JobStatus
from costcurve.store.pagination import JobQuery
from tests.helpers.reports import mnist_result
from tests.helpers.writing import finish


def test_jobs_are_listed_by_what_is_asked_for(store, submit, claim):
    blue = submit(tags={"team": "blue", "run": "1"})
    red = submit({"experiment": "mnist", "loss": "quadratic"}, tags={"team": "red", "run": "1"})
    submit()

    def ids(**query):
        return {job.id for job in store.list(JobQuery(**query)).items}

    assert ids(tags=(("team", "blue"),)) == {blue.id}
    assert ids(tags=(("run", "1"),)) == {blue.id, red.id}
    assert ids(tags=(("run", "1"), ("team", "red"))) == {red.id}
    assert ids(experiment=("mnist",)) == ids(loss=("quadratic",)) == {red.id}
    assert ids(experiment=("mnist", "neuron")) == ids(status=(JobStatus.RUNNING, JobStatus.QUEUED)) == ids()
    assert ids(status=(JobStatus.RUNNING, JobStatus.PAUSED)) == set()
    assert store.list(JobQuery(tags=(("team", "blue"),))).items[0].tags == {"team": "blue", "run": "1"}


@pytest.mark.parametrize("order", ["created_at", "-created_at", "-best_accuracy"])
def test_pages_show_every_job_once_and_in_order(store, submit, claim, order):
    for correct in (9000, 9500, 9000, 100):
        submit({"experiment": "mnist"})
        finish(store, claim(), mnist_result(correct))
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
        forged('["-created_at", 0.5, true]'),
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


def test_what_has_the_character_0_in_its_name_does_not_exist(store):
    with pytest.raises(JobNotFound):
        store.get("job_\0")
    with pytest.raises(JobNotFound):
        store.cancel("\0")
    for ask in (store.sweep, store.cancel_sweep):
        with pytest.raises(SweepNotFound):
            ask("swp_\0")
