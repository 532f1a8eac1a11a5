"""The client without a service: what it sends, how it reads answers, and when it tries again."""

import json
from http.server import BaseHTTPRequestHandler
from inspect import getattr_static, signature

import httpx
import pytest

from costcurve import ApiError, AsyncClient, Client, ServiceUnreachable, UnexpectedAnswer, WaitTimeout
from costcurve.client import curves
from costcurve.client import jobs as ops
from costcurve.client.request import Call, job_path, refusal
from costcurve.client.retry import CONNECT_RETRY_SECONDS, RETRY_SECONDS
from costcurve.client.transport import Remote
from costcurve.core.spec import NeuronSpec
from tests.helpers.scripted_server import ENDED, JOB, NOT_FOUND, UNAVAILABLE, Answer, a_server, answers, hangs_up
from tests.helpers.stepping import SteppingClock, run


def test_a_get_is_repeated_until_the_service_is_back():
    with a_server(hangs_up, UNAVAILABLE, answers(JOB)) as (url, asked), Client(url) as client:
        assert client.get("job_1").status == "running"
    assert [path for _, path, _ in asked] == ["/v1/jobs/job_1"] * 3


def test_a_submission_is_repeated_with_the_same_key_until_it_is_answered():
    keys: list[str] = []

    def noting(then: Answer) -> Answer:
        def answer(request: BaseHTTPRequestHandler) -> None:
            keys.append(request.headers["Idempotency-Key"])
            then(request)

        return answer

    script = [noting(then) for then in (hangs_up, UNAVAILABLE, *[answers(JOB, 201)] * 3)]
    with a_server(*script) as (url, _), Client(url) as client:
        assert client.submit(preset="neuron-good-start").id == JOB["id"]
        client.submit(preset="neuron-good-start")
        client.submit(preset="neuron-good-start", idempotency_key="mine")

    first, second, third, other, given = keys
    assert first == second == third != other
    assert given == "mine"


def test_a_submission_that_may_have_arrived_says_so_when_it_is_given_up():
    unclear = pytest.raises(ServiceUnreachable, match="may have accepted the job")
    with a_server(*[hangs_up] * 20) as (url, asked), Client(url) as client, unclear as caught:
        client.submit(preset="neuron-good-start")
    assert caught.value.uncertain
    assert len(asked) > 1


def test_cancelling_is_repeated_because_twice_is_no_error():
    with a_server(hangs_up, answers(JOB, 202)) as (url, asked), Client(url) as client:
        client.cancel("job_1")
    assert [(method, path) for method, path, _ in asked] == [("POST", "/v1/jobs/job_1/cancel")] * 2


@pytest.mark.parametrize("nothing_came", [hangs_up, UNAVAILABLE])
def test_a_deletion_whose_answer_got_lost_is_done_when_the_job_is_not_there_any_more(nothing_came):
    with a_server(nothing_came, NOT_FOUND) as (url, asked), Client(url) as client:
        client.delete("job_1")
    assert [(method, path) for method, path, _ in asked] == [("DELETE", "/v1/jobs/job_1")] * 2


def test_deleting_a_job_that_was_not_there_is_an_error():
    with a_server(NOT_FOUND) as (url, _), Client(url) as client, pytest.raises(ApiError, match="No such job"):
        client.delete("job_1")


def test_a_job_that_is_gone_is_no_success_of_anything_but_its_deletion():
    with a_server(hangs_up, NOT_FOUND) as (url, _), Client(url) as client, pytest.raises(ApiError, match="No such job"):
        client.cancel("job_1")


def test_what_a_clone_or_a_fork_has_otherwise_and_what_changes_are_sent_as_they_are_given():
    with a_server(*[answers(JOB, 201)] * 5) as (url, asked), Client(url) as client:
        client.fork("job_1", at_epoch=5, loss="cross_entropy", name=None)
        client.fork("job_1", at_epoch=2, reduction="sum_outputs", learning_rate=0.5)
        client.clone("job_1")
        client.clone("job_1", spec={"epochs": 3}, name=None)
        client.update("job_1", name=None, pinned=True)
    assert [(method, path, json.loads(body)) for method, path, body in asked] == [
        ("POST", "/v1/jobs/job_1/fork", {"at_epoch": 5, "spec": {"loss": "cross_entropy"}, "name": None}),
        (
            "POST",
            "/v1/jobs/job_1/fork",
            {"at_epoch": 2, "spec": {"reduction": "sum_outputs", "learning_rate": 0.5}},
        ),
        ("POST", "/v1/jobs/job_1/clone", {}),
        ("POST", "/v1/jobs/job_1/clone", {"spec": {"epochs": 3}, "name": None}),
        ("PATCH", "/v1/jobs/job_1", {"name": None, "pinned": True}),
    ]


def test_a_clone_is_repeated_with_the_same_key_until_it_is_answered():
    keys: list[str] = []

    def noting(then: Answer) -> Answer:
        def answer(request: BaseHTTPRequestHandler) -> None:
            keys.append(request.headers["Idempotency-Key"])
            then(request)

        return answer

    with a_server(noting(hangs_up), noting(answers(JOB, 201))) as (url, _), Client(url) as client:
        client.clone("job_1")
    assert keys[0] == keys[1] != ""


def test_a_stranger_is_given_up_soon_and_a_known_service_only_after_a_restart_would_be_over():
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    refuse = lambda request: httpx.ConnectError("Connection refused", request=request)  # noqa: E731

    with pytest.raises(ServiceUnreachable, match="costcurve up"):
        run(clock, ops.get(remote, "job_1"), refuse)
    assert clock.now <= CONNECT_RETRY_SECONDS

    run(clock, ops.get(remote, "job_1"), lambda request: httpx.Response(200, json=JOB, request=request))
    clock.now = 0
    with pytest.raises(ServiceUnreachable):
        run(clock, ops.get(remote, "job_1"), refuse)
    assert RETRY_SECONDS / 2 < clock.now <= RETRY_SECONDS


def test_waiting_asks_only_for_news_and_tells_each_once():
    clock, told, asked = SteppingClock(), [], []
    remote = Remote("http://127.0.0.1:1", clock=clock)
    script = [
        httpx.Response(200, json=JOB, headers={"ETag": 'W/"7-a"'}),
        httpx.Response(304),
        httpx.Response(200, json=ENDED),
    ]

    def network(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("If-None-Match"))
        response = script.pop(0)
        response.request = request
        return response

    job = run(clock, ops.wait(remote, "job_1", on_update=lambda job: told.append(job.version)), network)

    assert job.succeeded
    assert told == [7, 8]
    assert asked == [None, 'W/"7-a"', 'W/"7-a"']


def test_waiting_ends_at_its_timeout_with_the_last_known_state():
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(WaitTimeout) as caught:
        run(clock, ops.wait(remote, "job_1", timeout=5), lambda _: httpx.Response(200, json=JOB))
    assert clock.now == pytest.approx(5)
    assert caught.value.job.status == "running"
    assert isinstance(caught.value, TimeoutError)


def test_a_long_curve_is_fetched_page_after_page():
    pages = {
        "0": {"x": [0, 1], "series": {"cost": [4.0, 3.0]}, "total_points": 3, "next_from": 2},
        "2": {"x": [2], "series": {"cost": [2.0]}, "total_points": 1, "next_from": 3},
    }

    def network(request: httpx.Request) -> httpx.Response:
        page = pages[request.url.params.get("from", "0")]
        return httpx.Response(200, json={"job_id": "job_1", **page}, request=request)

    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    curve = run(clock, curves.curve(remote, "job_1", ["cost"]), network)
    assert (curve.x, curve.series) == ([0, 1, 2], {"cost": [4.0, 3.0, 2.0]})


def test_a_problem_names_its_fields():
    problem = {
        "type": "urn:x",
        "title": "The request is not valid",
        "status": 422,
        "detail": "one field is not valid",
        "code": "invalid_request",
        "errors": [{"pointer": "/spec/epochs", "message": "too many"}],
        "a_new_field": 1,
    }
    error = refusal(httpx.Response(422, json=problem))
    assert (error.status, error.code, error.errors) == (422, "invalid_request", (("/spec/epochs", "too many"),))


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b"null", b'{"code": 1}', b"\xff"])
def test_an_error_that_a_proxy_made_is_told_by_its_status(body):
    error = refusal(httpx.Response(502, content=body, request=httpx.Request("GET", "http://127.0.0.1/v1/jobs")))
    assert (error.code, error.status) == ("http_502", 502)


@pytest.mark.parametrize(
    "answer", [answers(b"<html>"), answers({"hello": "world"}), answers(b"", 204), answers(b"", 307)]
)
def test_an_answer_of_some_other_program_is_recognised(answer):
    other = pytest.raises(UnexpectedAnswer, match="does not look like a CostCurve service")
    with a_server(answer) as (url, _), Client(url) as client, other:
        client.get("job_1")


def test_fields_of_a_newer_service_are_kept():
    newer = {**ENDED, "sweep_id": "swp_1", "status": "waiting", "progress": {**JOB["progress"], "speed": 2}}
    with a_server(answers(newer)) as (url, _), Client(url) as client:
        job = client.get("job_1")
    assert job.status == "waiting"
    assert job.model_dump(mode="json")["sweep_id"] == "swp_1"


@pytest.mark.parametrize(
    ("job_id", "path"),
    [("job_1", "/v1/jobs/job_1"), ("../presets", "/v1/jobs/%2E%2E%2Fpresets"), ("a?b#c", "/v1/jobs/a%3Fb%23c")],
)
def test_whatever_is_given_as_an_id_stays_within_the_jobs(job_id, path):
    assert job_path(job_id) == path
    request = httpx.Request("GET", "http://127.0.0.1" + job_path(job_id))
    assert request.url.raw_path.decode() == path


def test_an_empty_id_is_not_the_list_of_all_jobs():
    with pytest.raises(ValueError, match="empty"):
        job_path("")


def test_parameters_that_are_not_given_are_not_sent():
    call = Call("GET", "/p", lambda _: None, query={"a": None, "log": True, "job": ["x", "y&z"], "tag": []})
    assert call.target == "/p?log=true&job=x&job=y%26z"


def test_a_spec_may_be_a_model_or_a_mapping_and_is_sent_with_the_fields_given():
    with a_server(answers(JOB, 201), answers(JOB, 201)) as (url, asked), Client(url) as client:
        client.submit(NeuronSpec(experiment="neuron", epochs=5), tags={"a": "b"}, name=None)
        client.submit({"epochs": 7}, preset="neuron-good-start")
    first, second = (json.loads(body) for _, _, body in asked)
    assert first["spec"]["epochs"] == 5
    assert first["tags"] == {"a": "b"}
    assert "name" not in first
    assert second == {"preset": "neuron-good-start", "spec": {"epochs": 7}}


def test_the_address_is_the_argument_else_the_environment_else_this_machine(monkeypatch):
    monkeypatch.setenv("COSTCURVE_URL", "http://elsewhere:1/")
    assert Remote("https://here/base/").url == "https://here/base"
    assert Remote().url == "http://elsewhere:1"
    monkeypatch.delenv("COSTCURVE_URL")
    assert Remote().url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", "ftp://x", "http://", "http://x?y", "http://x:99999"])
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(ValueError, match="is not"):
        Client(url)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with a_server(answers(JOB)) as (url, _), Client(url) as client:
        assert client.get("job_1").id == "job_1"


def test_both_clients_have_the_same_documented_methods():
    ours, theirs = ({name for name in dir(kind) if not name.startswith("_")} for kind in (Client, AsyncClient))
    assert ours ^ theirs == {"close", "aclose"}
    with Client() as client:
        for name in ours - {"close", "iterate"}:
            assert getattr_static(Client, name) is getattr_static(AsyncClient, name)
            assert "remote" not in signature(getattr(Client, name)).parameters
            assert getattr(client, name).__doc__
        assert "remote" not in signature(client.submit).parameters
