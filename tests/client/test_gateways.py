"""The client behind a gateway: what is sent again, and for how long, and how it tells other answers."""

import threading
from http.server import BaseHTTPRequestHandler
from inspect import getattr_static
from multiprocessing.reduction import ForkingPickler
from typing import Any

import httpx
import pytest

from costcurve import (
    ApiError,
    Client,
    CostCurveError,
    Job,
    Moved,
    ServiceUnreachable,
    Sweep,
    SweepWaitTimeout,
    UnexpectedAnswer,
    WaitTimeout,
)
from costcurve.client import jobs as ops
from costcurve.client.errors import BadField
from costcurve.client.retry import LONGEST_ASKED, RETRY_SECONDS, retry_after
from costcurve.client.transport import Remote
from tests.helpers.both_clients import a_client
from tests.helpers.scripted_server import ENDED, JOB, Answer, a_server, answers, hangs_up
from tests.helpers.stepping import SteppingClock, run

HTML = b"<!doctype html>\n<html><title>nginx</title></html>"
SWEEP = {
    "id": "swp_1",
    "grid": {},
    "repeats": 1,
    "cells": 1,
    "total": 1,
    "counts": {"queued": 1},
    "is_terminal": False,
    "created_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def gateway(status: int, **headers: str) -> Answer:
    return answers(HTML, status, "text/html", headers)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_waiting_outlives_what_a_gateway_says_while_the_service_is_away(kind, status):
    script = [gateway(status), answers(JOB), gateway(status), gateway(status), answers(ENDED)]
    with a_server(*script) as (url, asked), a_client(kind, url) as client:
        assert client.wait("job_1", poll=0.01).succeeded
    assert len(asked) == 5


def test_a_gateway_of_a_service_that_was_never_seen_gets_as_much_patience_as_a_service():
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(ApiError, match="502"):
        run(clock, ops.get(remote, "job_1"), httpx.Response(502, content=HTML))
    assert RETRY_SECONDS / 2 < clock.now <= RETRY_SECONDS


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501])
def test_what_does_not_pass_is_not_sent_again(kind, status):
    with a_server(gateway(status)) as (url, asked), a_client(kind, url) as client:
        with pytest.raises(ApiError, match=f"answered {status}"):
            client.get("job_1")
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "Fri, 02 Jan 2026 00:00:30 GMT", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}, 30),
        ({"Retry-After": "Friday, 02-Jan-26 00:00:30 GMT", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}, 30),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}, 0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Fri, 99 Jan 2026 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert retry_after(httpx.Headers(headers)) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_the_service_is_not_asked_again_before_it_wants_to_be(status):
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    busy = httpx.Response(status, headers={"Retry-After": "45"}, content=HTML)
    assert run(clock, ops.get(remote, "job_1"), busy, httpx.Response(200, json=JOB)).id == "job_1"
    assert clock.now == 45


def test_who_asks_for_more_time_than_there_is_gets_no_second_request():
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(ApiError, match="retry after 3,600 s") as caught:
        run(clock, ops.get(remote, "job_1"), httpx.Response(429, headers={"Retry-After": "3600"}, content=HTML))
    assert (clock.now, caught.value.retry_after) == (0, 3600)


def test_who_asks_for_a_little_time_for_ever_is_given_up():
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(ApiError, match="429"):
        run(clock, ops.get(remote, "job_1"), httpx.Response(429, headers={"Retry-After": "1"}, content=HTML))
    assert LONGEST_ASKED - 3 < clock.now <= LONGEST_ASKED


def test_a_long_trouble_is_told_once_and_a_short_one_not(caplog):
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    run(clock, ops.get(remote, "job_1"), httpx.Response(502), httpx.Response(200, json=JOB))
    assert caplog.messages == []
    with pytest.raises(ApiError):
        run(clock, ops.get(remote, "job_1"), httpx.Response(502))
    assert caplog.messages == ["http://127.0.0.1:1 answers 502 Bad Gateway; retrying"]


SAFE = {
    "get": ("job_1",),
    "list": (),
    "events": ("job_1",),
    "workers": (),
    "presets": (),
    "me": (),
    "validate": ({"experiment": "neuron"},),
    "submit": ({"experiment": "neuron"},),
    "clone": ("job_1",),
    "fork": ("job_1",),
    "update": ("job_1",),
    "pause": ("job_1",),
    "resume": ("job_1",),
    "cancel": ("job_1",),
    "delete": ("job_1",),
    "curve": ("job_1",),
    "curve_csv": ("job_1",),
    "compare": (["job_1", "job_2"],),
    "compare_csv": (["job_1", "job_2"],),
    "compare_diagnosis": (["job_1", "job_2"],),
    "plot": ("job_1",),
    "flow_plot": ("job_1",),
    "transcript": ("job_1",),
    "diagnosis": ("job_1",),
    "model": ("job_1",),
    "predict": ("job_1", [[0.0] * 784]),
    "confusion": ("job_1",),
    "mistakes": ("job_1",),
    "model_plot": ("job_1", "confusion"),
    "submit_sweep": ({"experiment": "neuron"},),
    "sweep_presets": (),
    "get_sweep": ("swp_1",),
    "list_sweeps": (),
    "cancel_sweep": ("swp_1",),
    "sweep_cells": ("swp_1",),
    "plot_sweep": ("swp_1",),
    "trial": ("job_1",),
    "extend_trial": ("swp_1", 10),
    "verdict": ("swp_1",),
    "version": (),
}


# Arguments that a method takes by name only.
NAMED: dict[str, dict[str, Any]] = {"fork": {"at_epoch": 5, "loss": "cross_entropy"}}


def test_every_operation_is_known_to_be_safe_to_repeat_or_not():
    named = {name for name in dir(Client) if not name.startswith("_")}
    assert named - {"close", "iterate", "wait", "wait_for_sweep", "wait_for_verdict", "ready"} == {*SAFE, "retry_sweep"}


@pytest.mark.parametrize("name", SAFE)
@pytest.mark.parametrize("trouble", [httpx.Response(504), httpx.ReadError("cut")])
def test_what_is_safe_is_sent_again_unchanged(name, trouble):
    sent = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(400)

    def note(request: httpx.Request) -> Any:
        sent.append(request)
        return trouble

    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(ApiError):
        run(clock, getattr_static(Client, name).steps(remote, *SAFE[name], **NAMED.get(name, {})), note, refuse)
    first, second = sent
    assert (first.method, first.url, first.content) == (second.method, second.url, second.content)
    assert first.headers.get("Idempotency-Key") == second.headers.get("Idempotency-Key")
    creates = {"submit", "clone", "fork", "submit_sweep", "trial"}
    assert ("Idempotency-Key" in first.headers) == (name in creates)


@pytest.mark.parametrize("trouble", [hangs_up, gateway(502), gateway(503), gateway(504)])
def test_what_may_have_been_done_and_is_not_safe_is_not_sent_again(kind, trouble):
    with a_server(trouble) as (url, asked), a_client(kind, url) as client:
        with pytest.raises(CostCurveError, match="may have taken effect") as caught:
            client.retry_sweep("swp_1")
        assert (len(asked), caught.value.uncertain, caught.value.idempotency_key) == (1, True, None)


def test_what_is_not_safe_is_sent_again_while_it_was_certainly_not_begun(kind):
    with a_server(gateway(429), answers(SWEEP, 202)) as (url, asked), a_client(kind, url) as client:
        assert client.retry_sweep("swp_1").id == "swp_1"
    assert len(asked) == 2


@pytest.mark.parametrize(
    "script",
    [[httpx.Response(504)], [httpx.ReadError("cut")], [httpx.Response(200, html="<p>")], [httpx.DecodingError("x")]],
)
def test_a_submission_that_may_have_arrived_tells_the_key_that_makes_it_safe(script):
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(
        CostCurveError, match="with the idempotency key mine, and the job is queued only once"
    ) as caught:
        run(clock, ops.submit(remote, preset="x", idempotency_key="mine"), *script)
    assert (caught.value.uncertain, caught.value.idempotency_key) == (True, "mine")


@pytest.mark.parametrize("script", [[httpx.Response(429)], [httpx.ConnectError("refused")], [httpx.Response(403)]])
def test_a_submission_that_did_not_arrive_leaves_no_doubt(script):
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)
    with pytest.raises(CostCurveError) as caught:
        run(clock, ops.submit(remote, preset="x"), *script)
    assert (caught.value.uncertain, caught.value.idempotency_key) == (False, None)


def test_a_lie_about_compression_is_no_answer_of_costcurve(kind):
    lie = answers(b"plain text", headers={"Content-Encoding": "gzip"})
    with a_server(lie) as (url, asked), a_client(kind, url) as client:
        with pytest.raises(UnexpectedAnswer, match="does not look like a CostCurve service"):
            client.get("job_1")
        assert len(asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_with_where_it_points_and_not_followed(kind, status):
    with a_server(answers(JOB)) as (there, asked_there):
        moved = answers(b"", status, headers={"Location": f"{there}/base/v1/jobs/job_1"})
        with a_server(moved) as (url, _), a_client(kind, url) as client:
            with pytest.raises(Moved, match=f"{status} redirects to {there}/base/v1/jobs/job_1") as caught:
                client.get("job_1")
            assert f"use --url {there}/base or COSTCURVE_URL={there}/base" in str(caught.value)
    assert asked_there == []


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/login?next=secret", r"redirects to http://127.0.0.1:\d+/login$"),
        ("https://ada:hidden@auth.example/in", r"redirects to https://\*\*\*@auth.example/in$"),
        ("http://[", "redirects to http://%5b$"),
        ("", "without a location"),
    ],
)
def test_a_redirect_to_something_else_is_told_without_what_may_be_secret(location, told):
    with a_server(answers(b"", 302, headers={"Location": location})) as (url, _), Client(url) as client:
        with pytest.raises(Moved, match=told) as caught:
            client.get("job_1")
        assert "secret" not in str(caught.value)
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            answers(HTML, content_type="text/html; charset=utf-8"),
            "status 200 with text/html that begins '<!doctype html>",
        ),
        (answers(HTML), "it is not complete JSON"),
        (answers(b'{"id": "job_1", "sta'), r"it is not complete JSON \(Invalid JSON: EOF"),
        (answers({"hello": "world"}), r"its JSON has an unexpected shape \(id: Field required\)"),
        (answers([]), "its JSON has an unexpected shape"),
        (answers({**JOB, "progress": {**JOB["progress"], "steps": None}}), "progress.steps"),
        (answers(b"[" * 100_000), "not complete JSON"),
        (answers(b"", 204, ""), "status 204"),
        (answers(b"", 200, ""), "status 200 with no content type"),
    ],
)
def test_an_answer_of_something_else_is_told_by_what_it_is(kind, answer, told):
    with a_server(answer) as (url, _), a_client(kind, url) as client, pytest.raises(UnexpectedAnswer, match=told):
        client.get("job_1")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plot", ("job_1",)),
        ("model", ("job_1",)),
        ("curve_csv", ("job_1",)),
        ("transcript", ("job_1",)),
        ("model_plot", ("job_1", "mistakes")),
        ("plot_sweep", ("swp_1",)),
        ("compare_csv", (["a", "b"],)),
    ],
)
def test_a_page_of_a_proxy_is_never_taken_for_a_picture_or_a_file(kind, name, arguments):
    page = answers(HTML, content_type="text/html")
    with a_server(page) as (url, _), a_client(kind, url) as client, pytest.raises(UnexpectedAnswer, match="text/html"):
        getattr(client, name)(*arguments)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"code": ' + b"[" * 100_000])
def test_an_error_whose_json_is_nested_without_end_is_told_by_its_status(body):
    with a_server(answers(body, 400)) as (url, _), Client(url) as client, pytest.raises(ApiError, match="answered 400"):
        client.get("job_1")


def test_an_answer_that_trickles_is_given_up(kind):
    trickled, stop = [], threading.Event()

    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", "100000")
        request.end_headers()
        request.close_connection = True
        while len(trickled) < 500:
            try:
                request.wfile.write(b" ")
            except OSError:
                return
            trickled.append(1)
            stop.wait(0.02)

    with a_server(trickle) as (url, _), a_client(kind, url) as client:
        assert client.ready(timeout=0.3) is False
        assert 0 < len(trickled) < 500
        stop.set()


def test_waiting_ends_at_its_timeout_also_while_the_service_is_silent():
    clock = SteppingClock()
    remote = Remote("http://127.0.0.1:1", clock=clock)

    def silent(request: httpx.Request) -> httpx.ReadTimeout:
        clock.now += request.extensions["timeout"]["read"]
        return httpx.ReadTimeout("silent", request=request)

    with pytest.raises(WaitTimeout) as caught:
        run(clock, ops.wait(remote, "job_1", timeout=10), httpx.Response(200, json=JOB), silent)
    assert 10 <= clock.now <= 15
    assert caught.value.job.status == "running"


@pytest.mark.parametrize(
    "error",
    [
        ApiError(
            code="c", status=422, title="t", detail="d", errors=[BadField("/a", "b")], more_errors=3, retry_after=1
        ),
        ServiceUnreachable("http://x", "refused"),
        UnexpectedAnswer("http://x", "what"),
        Moved("http://x", 301, "http://y", None),
        WaitTimeout(Job.model_validate(JOB), 3),
        SweepWaitTimeout(Sweep.model_validate(SWEEP), 3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_process_pool_arrives_as_it_was(error):
    error.doubt("key")
    again = ForkingPickler.loads(ForkingPickler.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
