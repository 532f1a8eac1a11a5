"""ETags: the headers of 304, and tags after a restore from a backup, which sets versions back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, update

from costcurve.core.sweep import SweepSubmission
from costcurve.store.job_update import JobUpdate
from costcurve.store.schema import jobs, models
from tests.helpers.reports import mnist_result, model
from tests.helpers.writing import written


@pytest.fixture
def tagged(app, store, claim):
    """The address of each route that documents a 304, for two trained networks of a sweep."""
    asked = SweepSubmission.model_validate({"spec": {"experiment": "mnist"}, "repeats": 2})
    sweep_id = store.submit_sweep(asked).sweep.id
    ids = []
    for _ in range(2):
        held = claim()
        written(store, JobUpdate(held, outcome=mnist_result(9000), model=model()))
        ids.append(held.job_id)
    paths = [
        path for path, route in app.openapi()["paths"].items() if "304" in route.get("get", {}).get("responses", {})
    ]
    return [
        path.format(job_id=ids[0], sweep_id=sweep_id, file_format="svg")
        + (f"?job={ids[0]}&job={ids[1]}" if "/compare" in path else "")
        for path in paths
    ]


def test_every_304_has_the_headers_of_the_200(http, tagged):
    assert len(tagged) == 10
    for path in tagged:
        full = http.get(path)
        again = http.get(path, headers={"If-None-Match": full.headers["etag"]})

        assert (full.status_code, again.status_code, again.content) == (200, 304, b""), path
        assert full.headers["cache-control"] == "private, no-cache", path
        for header in ("etag", "cache-control", "vary"):
            assert again.headers.get(header) == full.headers.get(header), (path, header)


def test_a_304_of_a_models_plot_reads_no_model(http, store, tagged):
    plots = [path for path in tagged if path.endswith(("confusion.svg", "mistakes.svg"))]
    tags = [http.get(path).headers["etag"] for path in plots]
    statements: list[str] = []
    event.listen(store._database.engine, "before_cursor_execute", lambda *statement: statements.append(statement[2]))
    answers = [http.get(path, headers={"If-None-Match": tag}) for path, tag in zip(plots, tags, strict=True)]

    assert [answer.status_code for answer in answers] == [304, 304]
    assert statements
    content = [f"models.{column.name}" for column in models.columns if not column.primary_key]
    assert not [statement for statement in statements if any(column in statement for column in content)]


@pytest.mark.parametrize("rest", ["", "/curve", "/curve.svg"])
def test_a_state_that_a_restored_database_numbers_alike_has_another_tag(store, submit, http, rest):
    job = submit()
    path = f"/v1/jobs/{job.id}"
    http.patch(path, json={"name": "before"})
    before = http.get(path + rest).headers["etag"]
    with store._database.write() as tx:  # as the backup had it, which was made before the change
        tx.execute(update(jobs).values(name=None, version=job.version))
    http.patch(path, json={"name": "after"})

    answer = http.get(path + rest, headers={"If-None-Match": before})
    assert answer.status_code == 200
    assert answer.headers["etag"] != before
    assert http.get(path).json()["version"] == job.version + 1
    assert http.patch(path, json={"name": "lost"}, headers={"If-Match": before}).status_code == 412


def test_a_waiting_jobs_place_moves_under_the_same_weak_tag(submit, http):
    first, second = submit(), submit()
    path = f"/v1/jobs/{second.id}"
    seen = http.get(path)
    http.post(f"/v1/jobs/{first.id}/cancel")

    again = http.get(path)
    assert (seen.json()["queue_position"], again.json()["queue_position"]) == (2, 1)
    assert again.headers["etag"] == seen.headers["etag"]
    assert again.headers["etag"].startswith("W/")


def test_of_changes_at_once_from_the_same_state_one_is_made(submit, http):
    path = f"/v1/jobs/{submit().id}"
    seen = http.get(path).headers["etag"]
    ready = threading.Barrier(6)

    def change(number: int) -> int:
        ready.wait()
        return http.patch(path, json={"priority": number}, headers={"If-Match": seen}).status_code

    with ThreadPoolExecutor(6) as clients:
        statuses = sorted(clients.map(change, range(6)))
    assert statuses == [200, *[412] * 5]
    assert http.get(path).json()["version"] == 2
