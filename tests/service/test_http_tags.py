"""ETags after a restore from a backup, which sets versions back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from costcurve.store.schema import jobs


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
