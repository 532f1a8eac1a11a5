"""Curves, comparisons and plots as the service answers them, over a store of each kind."""

import csv
import io
import socket
import threading
from collections import Counter
from math import inf

import httpx
import pytest
import uvicorn
from sqlalchemy import event

from costcurve.core.curve import Curve
from costcurve.core.job import Progress
from costcurve.store.job_update import JobUpdate
from service.app import create_app
from service.http_cache import Pictures
from service.plotting.curves import draw
from service.routes import plots
from tests.helpers.problems import problem
from tests.helpers.reports import RESULT, mnist_result, points, progress, steps
from tests.helpers.writing import finish, written

MNIST = {"experiment": "mnist"}
SLOW = {"experiment": "neuron", "loss": "quadratic", "init": {"scheme": "constant", "weight": 2.0, "bias": 2.0}}


@pytest.fixture
def http(store):
    """A client of the service over this very store, whose statements can so be watched."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(store._database), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=120) as client:
            yield client
        server.should_exit = True
        thread.join()


@pytest.fixture
def trained(store, submit, claim):
    """Queue a job and record a curve of it, in runs of ten points: its id."""

    def trained(*values: float, spec: dict | None = None, ended: bool = False, **fields: object) -> str:
        job = submit(spec, **fields)
        held = claim()
        for start in range(0, len(values), 10):
            run = values[start : start + 10]
            written(store, JobUpdate(held, progress(start + len(run)), points(start, *run)))
        if ended:
            finish(store, held, RESULT)
        return job.id

    return trained


@pytest.fixture
def network(store, submit, claim):
    """Queue a network and record its steps, a point for each cost: its id."""

    def network(*costs: float, **spec: object) -> str:
        job = submit({**MNIST, **spec})
        done = Progress(1, 30, 100 * len(costs), 150_000, None)
        written(store, JobUpdate(claim(), done, Curve(0, {"cost": [0.5], "accuracy": [0.9]}), steps=steps(0, *costs)))
        return job.id

    return network


WAVE = [float(x * 37 % 101) for x in range(100)]


def test_a_sampled_curve_says_so_and_the_same_call_gives_the_same_bytes(http, trained):
    job_id = trained(*WAVE)
    url = f"/v1/jobs/{job_id}/curve"
    whole = http.get(url).json()
    assert (whole["x"], whole["sampled"], whole["total_points"], whole["next_from"]) == ([*range(100)], False, 100, 100)

    answer = http.get(url, params={"max_points": 20, "from": 10, "to": 89})
    sample = answer.json()
    assert http.get(url, params={"max_points": 20, "from": 10, "to": 89}).content == answer.content
    assert (sample["sampled"], sample["total_points"], sample["next_from"]) == (True, 80, 90)
    assert len(sample["x"]) <= 20
    assert (sample["x"][0], sample["x"][-1]) == (10, 89)
    assert sample["series"] == {metric: [values[x] for x in sample["x"]] for metric, values in whole["series"].items()}
    assert {max(WAVE[10:90]), min(WAVE[10:90])} <= set(sample["series"]["cost"])
    all_of_it = http.get(url, params={"max_points": 100}).json()
    assert all_of_it == whole


def test_a_range_that_is_empty_is_an_empty_answer(http, trained):
    url = f"/v1/jobs/{trained(*WAVE)}/curve"

    for bounds, following in (({"from": 9, "to": 8}, 9), ({"from": 100}, 100), ({"from": 500}, 500)):
        for more in ({}, {"max_points": 10}):
            page = http.get(url, params=bounds | more).json()
            assert (page["x"], page["series"], page["total_points"]) == ([], {"cost": [], "output": []}, 0)
            assert (page["sampled"], page["next_from"]) == (False, following)


@pytest.mark.parametrize("suffix", ["", ".csv"])
def test_too_few_points_for_so_many_metrics_are_refused_with_the_least_that_will_do(http, trained, suffix):
    url = f"/v1/jobs/{trained(1.0)}/curve{suffix}"

    body = problem(http.get(url, params={"max_points": 5}), 422, "invalid_request")
    assert [error["pointer"] for error in body["errors"]] == ["/query/max_points"]
    assert "at least 6" in body["errors"][0]["message"]
    assert http.get(url, params={"max_points": 6}).status_code == 200
    assert http.get(url, params={"max_points": 4, "metrics": "cost"}).status_code == 200


def test_a_curve_by_steps_counts_steps(http, network):
    url = f"/v1/jobs/{network(4.0, 3.0, 2.0, 1.0)}/curve"

    page = http.get(url, params={"granularity": "step", "from": 50, "to": 299}).json()
    assert (page["granularity"], page["x"], page["next_from"]) == ("step", [100, 200], 300)
    assert page["series"] == {"cost": [3.0, 2.0], "cost_min": [3.0, 2.0], "cost_max": [6.0, 4.0]}
    rows = http.get(f"{url}.csv", params={"granularity": "step", "metrics": "cost"}).text
    assert rows == "x,cost\r\n0,4.0\r\n100,3.0\r\n200,2.0\r\n300,1.0\r\n"
    problem(http.get(url, params={"granularity": "step", "metrics": "accuracy"}), 422, "unknown_metric")


def test_infinity_is_null_in_json_and_inf_in_csv(http, trained):
    job_id = trained(1.0, inf, 0.5)

    page = http.get(f"/v1/jobs/{job_id}/curve", params={"metrics": "cost"}).json()
    assert page["series"] == {"cost": [1.0, None, 0.5]}
    assert http.get(f"/v1/jobs/{job_id}/curve.csv?metrics=cost").text == "x,cost\r\n0,1.0\r\n1,inf\r\n2,0.5\r\n"
    for suffix in ("svg", "png"):
        for log in ("true", "false"):
            assert http.get(f"/v1/jobs/{job_id}/curve.{suffix}", params={"log": log}).status_code == 200


def test_a_sampled_csv_has_the_points_of_the_sampled_json(http, trained):
    url = f"/v1/jobs/{trained(*WAVE)}/curve"
    sample = http.get(url, params={"max_points": 20}).json()
    rows = list(csv.DictReader(io.StringIO(http.get(f"{url}.csv", params={"max_points": 20}).text)))

    assert [int(row["x"]) for row in rows] == sample["x"]
    assert [float(row["output"]) for row in rows] == sample["series"]["output"]


def test_jobs_are_compared_field_by_field_on_one_axis(http, trained):
    first = trained(3.0, 2.0, 1.0, ended=True, name="a")
    second = trained(5.0, 4.0, spec=SLOW)

    body = http.get("/v1/compare", params={"job": [second, first], "metrics": "cost"}).json()
    assert [(job["id"], job["name"], job["status"]) for job in body["jobs"]] == [
        (second, None, "running"),
        (first, "a", "succeeded"),
    ]
    assert body["differences"] == [
        {"field": "loss", "values": {second: "quadratic", first: "cross_entropy"}, "derived": False},
        {"field": "init.weight", "values": {second: 2.0, first: 0.6}, "derived": False},
        {"field": "init.bias", "values": {second: 2.0, first: 0.9}, "derived": False},
    ]
    assert {"field": "final_cost", "values": {second: None, first: 0.5}} in body["results"]
    assert body["curves"] == {
        "granularity": "epoch",
        "x": [0, 1, 2],
        "series": {"cost": {second: [5.0, 4.0, None], first: [3.0, 2.0, 1.0]}},
        "total_points": 3,
        "sampled": False,
        "next_from": 2,  # where the one that is still trained goes on
    }
    rows = http.get("/v1/compare.csv", params={"job": [second, first], "metrics": "cost"}).text
    assert rows == f"x,{second}.cost,{first}.cost\r\n0,5.0,3.0\r\n1,4.0,2.0\r\n2,,1.0\r\n"


def test_what_follows_from_other_fields_is_marked(http, submit):
    ids = [submit({**MNIST, "learning_rate": rate}).id for rate in (1.0, 2.0)]

    found = http.get("/v1/compare", params={"job": ids}).json()["differences"]
    assert [(each["field"], each["derived"]) for each in found] == [
        ("learning_rate", False),
        ("effective_learning_rate", True),
    ]


def test_compared_curves_are_sampled_together(http, trained):
    ids = [trained(*WAVE), trained(*[value * 2 for value in WAVE[:50]]), trained()]
    asked = {"job": ids, "max_points": 60}

    curves = http.get("/v1/compare", params=asked).json()["curves"]
    assert (curves["sampled"], curves["total_points"], curves["next_from"]) == (True, 100, 0)
    assert len(curves["x"]) <= 60
    assert {0, 49, 99} <= set(curves["x"])
    assert curves["series"]["cost"][ids[0]] == [WAVE[x] for x in curves["x"]]
    assert curves["series"]["cost"][ids[1]] == [2 * WAVE[x] if x < 50 else None for x in curves["x"]]
    assert curves["series"]["cost"][ids[2]] == [None] * len(curves["x"])
    body = problem(http.get("/v1/compare", params={"job": ids, "max_points": 17}), 422, "invalid_request")
    assert "at least 18" in body["errors"][0]["message"]


def test_a_metric_that_only_one_of_them_has_is_null_in_the_others(http, store, submit, claim):
    ids = []
    for metrics in (("cost", "gradient_norm.3"), ("cost",)):
        ids.append(submit(MNIST).id)
        done = Progress(1, 30, 5000, 150_000, None)
        written(store, JobUpdate(claim(), done, Curve(0, {metric: [1.0] for metric in metrics})))

    series = http.get("/v1/compare", params={"job": ids, "metrics": "cost,gradient_norm.3"}).json()["curves"]["series"]
    assert series["gradient_norm.3"] == {ids[0]: [1.0], ids[1]: [None]}
    assert list(http.get("/v1/compare", params={"job": ids}).json()["curves"]["series"]) == ["cost"]
    asked = {"job": ids, "metrics": "gradient_norm.3"}
    assert http.get("/v1/compare.svg", params=asked).status_code == 200
    assert (
        http.get("/v1/compare.csv", params=asked).text
        == f"x,{','.join(f'{i}.gradient_norm.3' for i in ids)}\r\n0,1.0,\r\n"
    )
    problem(http.get("/v1/compare", params={"job": ids, "metrics": "beauty"}), 422, "unknown_metric")


def test_jobs_of_different_experiments_are_compared_but_for_their_curves(http, trained, network):
    ids = [trained(1.0, ended=True), network(1.0)]

    body = http.get("/v1/compare", params={"job": ids}).json()
    assert body["curves"] is None
    assert {"field": "experiment", "values": {ids[0]: "neuron", ids[1]: "mnist"}, "derived": False} in body[
        "differences"
    ]
    assert {"field": "final_output", "values": {ids[0]: 0.1, ids[1]: None}} in body["results"]
    for suffix in (".csv", ".svg", ".png"):
        errors = problem(http.get(f"/v1/compare{suffix}", params={"job": ids}), 422, "invalid_request")["errors"]
        assert [error["pointer"] for error in errors] == ["/query/job"]


@pytest.mark.parametrize("suffix", ["", ".csv", ".svg", ".png"])
def test_what_cannot_be_compared_is_named(http, trained, suffix):
    one, other = trained(1.0), trained(1.0)

    def errors(*ids: str) -> list[dict]:
        return problem(http.get(f"/v1/compare{suffix}", params={"job": ids}), 422, "invalid_request")["errors"]

    for ids in ((one,), (one, one), tuple(f"job_{i}" for i in range(17))):
        assert [error["pointer"] for error in errors(*ids)] == ["/query/job"]
    missing = problem(http.get(f"/v1/compare{suffix}", params={"job": [one, "job_0", other]}), 404, "job_not_found")
    assert "job_0" in missing["detail"]


@pytest.fixture
def asked(store):
    """Statements that read a curve, and reads and writes in all, since it was cleared."""
    seen: Counter = Counter()

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen["all"] += 1
        seen["curves"] += "_runs" in statement

    event.listen(store._database.engine, "before_cursor_execute", count)
    return seen


@pytest.mark.parametrize("file_format", ["svg", "png"])
def test_a_plot_of_an_unchanged_job_is_neither_read_nor_drawn_again(http, trained, asked, monkeypatch, file_format):
    drawn: Counter = Counter()

    def counted(*args: object, **named: object) -> bytes:
        drawn["times"] += 1
        return draw(*args, **named)

    monkeypatch.setattr(plots, "draw", counted)
    url, other = f"/v1/jobs/{trained(*WAVE)}/curve.{file_format}", trained(*WAVE)
    first = http.get(url)
    assert (drawn["times"], asked["curves"] > 0) == (1, True)
    asked.clear()
    again = http.get(url)

    assert again.content == first.content
    assert (drawn["times"], asked["curves"]) == (1, 0)
    assert again.headers["etag"] == first.headers["etag"]
    assert http.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    for more in ({"log": "true"}, {"metrics": "output"}, {"title": "other"}, {"granularity": "step"}):
        assert http.get(url, params=more).headers["etag"] != first.headers["etag"]
    assert http.get(f"/v1/jobs/{other}/curve.{file_format}").headers["etag"] != first.headers["etag"]
    assert drawn["times"] == 6


@pytest.mark.parametrize("path", ["curve", "curve.svg", "curve?granularity=step", "curve?metrics=cost&max_points=10"])
def test_whatever_is_recorded_of_a_job_makes_its_tag_another(http, store, submit, claim, path):
    job = submit(MNIST)
    url = f"/v1/jobs/{job.id}/{path}"
    tags = [http.get(url).headers["etag"]]
    held = claim()
    done = Progress(1, 30, 250, 150_000, None)
    writes = [
        JobUpdate(held, done, Curve(0, {"cost": [1.0]}), steps=steps(0, 1.0)),
        JobUpdate(held, done, steps=steps(1, 1.0)),
        JobUpdate(held, done, Curve(1, {"cost": [1.0]})),
        JobUpdate(held, outcome=mnist_result(9000)),
    ]
    for write in writes:
        written(store, write)
        answer = http.get(url, headers={"If-None-Match": tags[-1]})
        assert answer.status_code == 200
        tags.append(answer.headers["etag"])
        assert http.get(url, headers={"If-None-Match": tags[-1]}).status_code == 304

    assert len(set(tags)) == len(tags)


def test_a_plot_of_a_growing_job_shows_what_is_there(http, store, submit, claim):
    url = f"/v1/jobs/{submit().id}/curve.svg"
    held = claim()
    pictures = [http.get(url).content]
    for number in range(3):
        written(store, JobUpdate(held, progress(number + 1), points(number, 1.0 / (number + 1))))
        pictures.append(http.get(url).content)

    assert len(set(pictures)) == 4
    assert b"no points yet" in pictures[0]
    assert b"no points yet" not in pictures[1]


def test_compared_jobs_are_sent_again_when_one_of_them_has_changed(http, store, trained, submit, claim):
    ids = [trained(1.0, ended=True), submit().id]
    held = claim()
    for suffix in ("", ".svg"):
        tag = http.get(f"/v1/compare{suffix}", params={"job": ids}).headers["etag"]
        known = {"If-None-Match": tag}
        assert http.get(f"/v1/compare{suffix}", params={"job": ids}, headers=known).status_code == 304
        written(store, JobUpdate(held, progress(1), points(0, 1.0)))
        assert http.get(f"/v1/compare{suffix}", params={"job": ids}, headers=known).status_code == 200


def test_a_deleted_job_has_no_plot_left(http, store, trained):
    job_id = trained(1.0, ended=True)
    tag = http.get(f"/v1/jobs/{job_id}/curve.svg").headers["etag"]
    store.delete(job_id)

    problem(http.get(f"/v1/jobs/{job_id}/curve.svg", headers={"If-None-Match": tag}), 404, "job_not_found")


def test_more_diagrams_than_fit_are_refused(http, store, submit, claim):
    job = submit(MNIST)
    metrics = [f"gradient_norm.{layer}" for layer in range(1, 18)]
    written(store, JobUpdate(claim(), progress(1), Curve(0, {metric: [1.0] for metric in metrics})))

    def plot(names: list[str]):
        return http.get(f"/v1/jobs/{job.id}/curve.svg", params={"metrics": ",".join(names)})

    assert plot(metrics[:3]).status_code == 200
    assert problem(plot(metrics), 422, "invalid_request")["errors"][0]["pointer"] == "/query/metrics"


def test_the_cache_of_pictures_forgets_what_was_longest_unused_and_never_holds_more_than_it_may():
    pictures = Pictures(max_bytes=10)
    drawn = []

    def get(key: str, size: int = 4) -> bytes:
        return pictures.get(key, lambda: drawn.append(key) or key.encode() * size)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert get(key) == key.encode() * 4
    assert drawn == ["a", "b", "c", "b"]
    assert sorted(pictures.keys) == ["a", "b"]
    assert get("d", size=11) == b"d" * 11  # larger than the whole cache: drawn, and not kept
    assert sorted(pictures.keys) == ["a", "b"]
