"""Malformed requests cost the service next to nothing: a small answer, and little CPU time."""

import os
import socket
from itertools import islice
from pathlib import Path

import pytest

from tests.helpers.malformed_bodies import MAX_BYTES, attempts, refused
from tests.helpers.problems import problem
from tests.helpers.processes import Deployment

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20
# Reading 20 MiB from a socket takes a tenth of a second by itself; what was mended took 26 to 80.
MAX_CPU_SECONDS = 1.0


def cpu_seconds(service: Deployment) -> float:
    """The CPU time of the service so far; unlike the clock, it does not depend on what else runs here."""
    fields = Path(f"/proc/{service.service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def members(count: int) -> str:
    return "{" + ",".join(f'"k{number}":1' for number in range(count)) + "}"


def filled(prefix: str, each: str, suffix: str, size: int) -> bytes:
    """A body of about this size in which one element repeats."""
    return (prefix + ",".join([each] * (size // (len(each) + 1))) + suffix).encode()


HUGE = {
    "members": members(1_400_000).encode(),
    "numbers": filled('{"images": [', "1", "]}", 18 * MIB),
    "texts": filled('{"images": [[', '"x"', "]]}", 18 * MIB),
    "empty lists": filled('{"images": [', "[]", "]}", 18 * MIB),
    "pairs": filled("[", '{"a":1}', "]", 18 * MIB),
    "one text": b'{"images": "' + b"x" * (18 * MIB) + b'"}',
    "opened lists": b"[" * (18 * MIB),
    "bad rows": filled('{"images": [', "[" + ",".join(["1"] * 783 + ['"x"']) + "]", "]}", 1_000 * 1_572),
}
LARGE = {
    "layers": {"spec": {"experiment": "mnist", "layers": ["x"] * 100_000}},
    "few layers": {"spec": {"experiment": "mnist", "layers": ["x"] * 40_000}},
    "std": {"spec": {"experiment": "mnist", "init": {"scheme": "normal", "std": ["x"] * 40_000}}},
    "members of a spec": {"spec": {"experiment": "mnist", **{f"k{number}": 1 for number in range(250)}}},
    "unknown members": {f"k{number}": 1 for number in range(40_000)},
    "tags": {"spec": {"experiment": "mnist"}, "tags": {f"{number}:": 1 for number in range(250)}},
    "a long name": {"spec": {"experiment": "mnist"}, "x" * 900_000: 1},
    "a long value": {"spec": {"experiment": "x" * 900_000}},
    "a grid of bad values": {"spec": {"experiment": "neuron"}, "grid": {"epochs": ["x"] * 5_000}},
    "a grid of bad objects": {
        "spec": {"experiment": "neuron"},
        "grid": {"init": [{"scheme": "normal", "a": 1, "b": 2, "c": 3}] * 5_000},
    },
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_body_for_a_job_that_does_not_exist_is_not_even_read(http, service, kind):
    before = cpu_seconds(service)
    answer = http.post("/v1/jobs/job_0/predict", content=HUGE[kind], headers=JSON)

    problem(answer, 404, "job_not_found")
    assert cpu_seconds(service) - before < MAX_CPU_SECONDS


def test_a_job_is_looked_up_before_the_images_for_it_arrive(http):
    head = (
        "POST /v1/jobs/job_0/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {18 * MIB}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", http.base_url.port), timeout=30) as connection:
        connection.sendall(head.encode() + b'{"images": [')  # and no more

        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_bad_body_gets_a_small_answer_at_once(http, service, kind):
    for path in ("/v1/jobs", "/v1/sweeps"):
        before = cpu_seconds(service)
        answer = http.post(path, json=LARGE[kind])

        errors = problem(answer, 422, "invalid_request")["errors"]
        assert len(answer.content) < MAX_BYTES
        assert all(len(error["pointer"]) <= 300 for error in errors)
        assert cpu_seconds(service) - before < MAX_CPU_SECONDS


def test_of_many_bad_fields_fifty_are_named_and_the_rest_is_counted(http):
    body = {"spec": {"experiment": "neuron"}, **{f"k{number:03}": 1 for number in range(120)}}
    found = problem(http.post("/v1/jobs", json=body), 422, "invalid_request")

    assert [error["pointer"] for error in found["errors"]] == [f"/k{number:03}" for number in range(50)]
    assert found["more_errors"] == 70
    assert "120 fields are not valid" in found["detail"]


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"layers": [784, "x", "y", 10]}, "/spec/layers/1"),
        ({"init": {"scheme": "normal", "std": [1.0, "x", "y"]}}, "/spec/init/std/1"),
    ],
)
def test_a_list_is_read_to_its_first_bad_element(http, spec, pointer):
    answer = http.post("/v1/jobs", json={"spec": {"experiment": "mnist", **spec}})

    assert [error["pointer"] for error in problem(answer, 422, "invalid_request")["errors"]] == [pointer]


def test_a_path_or_a_query_of_any_length_does_not_come_back_at_length(http):
    long = "%F0%9F%98%80" * 4_000
    for path in (
        f"/v1/jobs/{long}",
        f"/{long}",
        f"/v1/sweeps/{long}/cells",
        f"/v1/jobs?{long}=1",
        f"/v1/jobs?cursor={long}",
    ):
        answer = http.get(path)
        assert 400 <= answer.status_code < 500
        assert len(answer.content) < MAX_BYTES


def test_malformed_requests_of_every_kind_are_refused(http, service):
    """A few hundred here; `python -m tests.helpers.malformed_bodies` sends thousands."""
    job = f"/v1/jobs/{service.submit({'experiment': 'neuron'})}"
    before = cpu_seconds(service)
    sent = [refused(http, attempt) for attempt in islice(attempts(7, job), 300)]

    assert sum(400 <= status < 500 for _, _, status in sent) > 250
    assert cpu_seconds(service) - before < len(sent) * 0.1
