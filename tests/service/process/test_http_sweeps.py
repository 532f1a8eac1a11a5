"""Sweeps by HTTP, against a real service process without workers."""

import pytest

from tests.helpers.problems import problem

SWEEP = {
    "spec": {"experiment": "neuron", "seed": 5},
    "grid": {"loss": ["quadratic", "cross_entropy"], "learning_rate": [0.1, 0.2, 0.3]},
    "repeats": 2,
    "name": "n",
    "tags": {"a": "b"},
}
STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"]


@pytest.fixture
def location(http) -> str:
    """Where a sweep of twelve jobs is."""
    return http.post("/v1/sweeps", json=SWEEP).headers["location"]


def test_a_sweep_is_made_and_tells_what_it_is(http):
    made = http.post("/v1/sweeps", json=SWEEP)

    assert made.status_code == 201
    body = made.json()
    assert made.headers["location"] == f"/v1/sweeps/{body['id']}"
    assert body["id"].startswith("swp_")
    assert {name: body[name] for name in SWEEP} == SWEEP
    assert (body["cells"], body["total"], body["is_terminal"]) == (6, 12, False)
    assert body["counts"] == dict.fromkeys(STATES, 0) | {"queued": 12}
    assert (body["device"], body["engine"], body["priority"], body["max_runtime_seconds"]) == ("auto", "auto", 50, None)
    looked_at = http.get(made.headers["location"]).json()
    ranking = {"figure": "target_distance", "better": "lower"}
    assert looked_at == body | {"verdict": None, "ranking": ranking, "leaderboard": []}


def test_the_jobs_of_a_sweep_are_listed_and_say_which_they_are(http, location):
    sweep_id = location.rpartition("/")[2]
    page = http.get("/v1/jobs", params={"sweep_id": sweep_id, "order": "created_at", "limit": 7}).json()
    rest = http.get(
        "/v1/jobs",
        params={"sweep_id": sweep_id, "order": "created_at", "limit": 7, "cursor": page["next_cursor"]},
    ).json()

    jobs = [*page["items"], *rest["items"]]
    assert rest["next_cursor"] is None
    assert [(job["cell"], job["repeat"]) for job in jobs] == [(cell, repeat) for repeat in (0, 1) for cell in range(6)]
    assert {job["sweep_id"] for job in jobs} == {sweep_id}
    assert [job["spec"]["seed"] for job in jobs] == [5] * 6 + [6] * 6
    assert (jobs[4]["spec"]["loss"], jobs[4]["spec"]["learning_rate"]) == ("cross_entropy", 0.2)
    assert (jobs[0]["name"], jobs[0]["tags"]) == ("n", {"a": "b"})
    assert http.get(f"/v1/jobs/{jobs[0]['id']}").json()["sweep_id"] == sweep_id


def test_a_sweep_is_cancelled_as_often_as_one_likes(http, location):
    for _ in range(2):
        cancelled = http.post(f"{location}/cancel")
        assert cancelled.status_code == 202
        assert (cancelled.json()["counts"]["cancelled"], cancelled.json()["is_terminal"]) == (12, True)


def test_a_sweep_repeated_with_its_key_is_answered_as_the_first_time(http):
    headers = {"Idempotency-Key": "a sweep's key"}
    first = http.post("/v1/sweeps", json=SWEEP, headers=headers)
    http.post(f"{first.headers['location']}/cancel")
    again = http.post("/v1/sweeps", json=SWEEP, headers=headers)

    assert again.status_code == 201
    assert (again.json(), again.headers["location"]) == (first.json(), first.headers["location"])
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    problem(http.post("/v1/sweeps", json=SWEEP | {"repeats": 3}, headers=headers), 422, "idempotency_key_reused")


def test_sweeps_are_listed_the_newest_first(http):
    made = [http.post("/v1/sweeps", json={"preset": "neuron-good-start"}).json() for _ in range(3)]
    first = http.get("/v1/sweeps", params={"limit": 2}).json()
    second = http.get("/v1/sweeps", params={"limit": 1, "cursor": first["next_cursor"]}).json()

    assert [*first["items"], *second["items"]] == made[::-1]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"grid": {"learning_rate": [0.1, -1]}}, "/grid/learning_rate/1"),
        ({"grid": {"momentum": [0.9]}}, "/grid/momentum"),
        ({"grid": {"loss": []}}, "/grid/loss"),
        ({"grid": {"seed": [1, 2]}}, "/repeats"),
        ({"spec": {"experiment": "neuron", "epochs": 0}}, "/spec/epochs"),
        ({"repeats": 0}, "/repeats"),
        ({"cells": 1}, "/cells"),
        ({"grid": {"epochs": [*range(1, 2502)]}}, "/grid"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_by_field_and_queues_nothing(http, changes, pointer):
    before = http.get("/v1/jobs", params={"limit": 1}).json()["items"]
    body = problem(http.post("/v1/sweeps", json=SWEEP | changes), 422, "invalid_request")

    assert [error["pointer"] for error in body["errors"]] == [pointer]
    assert http.get("/v1/jobs", params={"limit": 1}).json()["items"] == before


def test_too_many_jobs_are_refused_with_the_number_that_is_possible(http):
    body = problem(http.post("/v1/sweeps", json=SWEEP | {"repeats": 1000}), 422, "invalid_request")

    assert "6,000 jobs; a sweep may have at most 5,000" in body["detail"]


def test_a_deeply_nested_value_is_refused_like_any_other(http):
    deep = '{"spec": {"experiment": "neuron"}, "grid": {"init": [' + "[" * 500 + "]" * 500 + "]}}"
    answer = http.post("/v1/sweeps", content=deep, headers={"Content-Type": "application/json"})

    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/grid/init/0"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/cells"), ("GET", "/curve.svg"), ("POST", "/cancel"), ("POST", "/retry")]
)
def test_a_sweep_that_does_not_exist_is_not_found(http, method, path):
    body = problem(http.request(method, f"/v1/sweeps/swp_none{path}"), 404, "sweep_not_found")

    assert body["detail"] == "there is no sweep 'swp_none'"


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "cursor=x", "status=queued"])
def test_a_list_of_sweeps_takes_its_own_parameters_only(http, query):
    problem(http.get(f"/v1/sweeps?{query}"), 422, "invalid_request")


def test_a_sweep_is_gone_with_its_last_job(http):
    location = http.post("/v1/sweeps", json={"preset": "neuron-good-start"}).headers["location"]
    http.post(f"{location}/cancel")
    [job] = http.get("/v1/jobs", params={"sweep_id": location.rpartition("/")[2]}).json()["items"]
    http.delete(f"/v1/jobs/{job['id']}")

    problem(http.get(location), 404, "sweep_not_found")


def test_the_cells_of_a_sweep_are_listed_page_by_page(http, location):
    first = http.get(f"{location}/cells", params={"limit": 4}).json()
    second = http.get(f"{location}/cells", params={"limit": 4, "cursor": first["next_cursor"]}).json()

    cells = [*first["items"], *second["items"]]
    assert second["next_cursor"] is None
    assert [cell["cell"] for cell in cells] == [*range(6)]
    assert cells[4]["settings"] == {"loss": "cross_entropy", "learning_rate": 0.2}
    assert (cells[4]["rank"], cells[4]["figures"], cells[4]["difference"]) == (None, {}, None)
    assert cells[4]["counts"] == dict.fromkeys(STATES, 0) | {"queued": 2}
    listed = {
        (job["cell"], job["repeat"]): job["id"]
        for job in http.get("/v1/jobs", params={"sweep_id": location.rpartition("/")[2]}).json()["items"]
    }
    assert cells[4]["jobs"] == [
        {"id": listed[4, repeat], "repeat": repeat, "seed": 5 + repeat, "status": "queued", "score": None}
        for repeat in (0, 1)
    ]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("?leaderboard=201", "/query/leaderboard"),
        ("?leaderboard=-1", "/query/leaderboard"),
        ("?best=1", "/query/best"),
        ("/cells?limit=0", "/query/limit"),
        ("/cells?order=best", "/query/order"),
        ("/cells?cursor=x", "/query/cursor"),
        ("/cells?status=queued", "/query/status"),
    ],
)
def test_looking_at_a_sweep_takes_its_own_parameters_only(http, location, path, pointer):
    body = problem(http.get(location + path), 422, "invalid_request")

    assert [error["pointer"] for error in body["errors"]] == [pointer]


def test_a_retry_where_nothing_failed_changes_nothing(http, location):
    http.post(f"{location}/cancel")
    retried = http.post(f"{location}/retry")

    assert (retried.status_code, retried.json()["counts"]["cancelled"]) == (202, 12)
    assert len(http.get("/v1/jobs", params={"sweep_id": location.rpartition("/")[2]}).json()["items"]) == 12


def test_a_ready_sweep_is_listed_as_it_would_be_submitted_and_queued_by_its_name(http):
    ready = {preset["name"]: preset for preset in http.get("/v1/sweep-presets").json()["items"]}
    by_name = http.post("/v1/sweeps", json={"preset": "article-mnist", "repeats": 2}).json()

    assert (by_name["preset"], by_name["total"]) == ("article-mnist", 16)
    assert {name: by_name[name] for name in ("spec", "grid")} == {
        name: ready["article-mnist"][name] for name in ("spec", "grid")
    }
    http.post(f"/v1/sweeps/{by_name['id']}/cancel")
    problem(http.post("/v1/sweeps", json={"preset": "article"}), 422, "invalid_request")


@pytest.mark.parametrize("value", ['"\\ud800"', '"a\\u0000b"', "NaN", "1e999", "-5", "[[[[]]]]", '{"a": {"b": {}}}'])
def test_a_value_that_the_grid_overrides_is_checked_and_breaks_no_list(http, value):
    body = f'{{"spec": {{"experiment": "neuron", "loss": {value}}}, "grid": {{"loss": ["quadratic"]}}}}'
    before = http.get("/v1/sweeps").json()
    answer = http.post("/v1/sweeps", content=body, headers={"Content-Type": "application/json"})

    assert [error["pointer"] for error in problem(answer, 422, "invalid_request")["errors"]] == ["/spec/loss"]
    assert http.get("/v1/sweeps").json() == before
