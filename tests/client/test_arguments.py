"""Arguments of the client as people have them: numpy and torch, wrong kinds, and a client that changes its process."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
import torch

from costcurve import ApiError, AsyncClient, Client, CostCurveError
from costcurve.client.images import as_images
from tests.helpers.both_clients import a_client
from tests.helpers.scripted_server import ENDED, JOB, NOT_FOUND, a_server, answers

PREDICTION = {"job_id": "job_1", "digits": [3], "outputs": [[0.0] * 10]}


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def sent(kind: str, call: Callable[[Any], object], answer: object = JOB) -> Any:
    """The body of the one request that the call makes."""
    with a_server(answers(answer, 201)) as (url, asked), a_client(kind, url) as client:
        call(client)
    ((_, _, body),) = asked
    return json.loads(body)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.str_("quadratic"), "quadratic"),
        (np.array([784, 30, 10]), [784, 30, 10]),
        (np.array(0.5), 0.5),
        ([np.int64(1), (np.float32(0.25), None)], [1, [0.25, None]]),
        (torch.tensor(3), 3),
        (torch.tensor([1.5, 2.5], requires_grad=True), [1.5, 2.5]),
        ({"std": np.array([10.0, 1.0])}, {"std": [10.0, 1.0]}),
        (range(3), [0, 1, 2]),
    ],
    ids=repr,
)
def test_numbers_of_any_library_are_sent_as_numbers(kind, given, plain):
    assert sent(kind, lambda client: client.submit({"field": given}))["spec"] == {"field": plain}
    assert sent(kind, lambda client: client.clone("job_1", spec={"field": given}))["spec"] == {"field": plain}
    assert sent(kind, lambda client: client.submit(preset="x", priority=given))["priority"] == plain


def test_the_values_of_a_grid_may_be_an_array(kind):
    sweep = {
        "id": "swp_1",
        "grid": {},
        "repeats": 1,
        "cells": 1,
        "total": 1,
        "counts": {},
        "is_terminal": False,
        "created_at": "2026-01-01T00:00:00Z",
    }
    body = sent(
        kind,
        lambda client: client.submit_sweep(preset="x", grid={"epochs": np.arange(1, 4)}, repeats=np.int64(2)),
        sweep,
    )
    assert (body["grid"], body["repeats"]) == ({"epochs": [1, 2, 3]}, 2)


GREY = np.arange(784, dtype=np.uint8).reshape(28, 28)
INK = (GREY / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("images", "count"),
    [
        (INK, 1),
        (INK.reshape(784), 1),
        (INK.reshape(1, 784), 1),
        (INK.reshape(1, 1, 28, 28), 1),
        (np.stack([INK] * 3), 3),
        (np.stack([INK] * 28), 28),
        (np.stack([INK] * 28).reshape(28, 784), 28),
        (np.stack([INK] * 3).reshape(3, 784), 3),
        (np.stack([INK] * 3).reshape(3, 1, 28, 28), 3),
        ([INK, INK.reshape(784)], 2),
        (torch.tensor(INK).repeat(2, 1, 1), 2),
        (INK.tolist(), 1),
        ((row.tolist() for row in INK), 1),
        (GREY, 1),
        (np.stack([GREY, np.zeros_like(GREY)]), 2),
        (GREY.astype(np.int64).tolist(), 1),
        (torch.tensor(GREY), 1),
    ],
    ids=lambda value: str(getattr(value, "shape", value if isinstance(value, int) else type(value).__name__)),
)
def test_images_come_in_the_shapes_and_ranges_that_people_have(images, count):
    found = as_images(images)
    assert [len(image) for image in found] == [784] * count
    assert found[0] == pytest.approx(INK.reshape(784).tolist())


def test_images_that_are_already_right_are_not_changed():
    ink = [[0, 1, 0.5] + [0.0] * 781]
    assert as_images(ink) == ink
    assert as_images([[0, 1] * 392]) == [[0, 1] * 392]


@pytest.mark.parametrize(
    "images", [[[2.0] * 784], [[0.0] * 783], [], [[]], [[256] * 784], [[-1] * 784], [[0.5] * 784, [200] * 784]]
)
def test_an_image_that_is_wrong_is_left_for_the_service_to_name(images):
    assert as_images(images) == images


@pytest.mark.parametrize(
    ("images", "error", "told"),
    [
        ([[0.0] * 783 + [math.nan]], ValueError, r"images\[0\]\[783\] is nan"),
        (np.full((2, 28, 28), np.inf), ValueError, r"images\[0\]\[0\]\[0\] is inf"),
        ([["x"] * 784], TypeError, r"images\[0\]\[0\] is 'x'; a pixel must be a number"),
        ([{"a": 1}], TypeError, r"images\[0\] is \{'a': 1\}; a pixel"),
        ("digit.png", TypeError, "images must be a list of images, not str"),
        (b"\x89PNG", TypeError, "images is of type bytes"),
        (None, TypeError, "images must be a list"),
        (3, TypeError, "images must be a list of images, not int"),
    ],
)
def test_what_is_no_image_is_told_by_its_place(kind, images, error, told):
    with a_client(kind, "http://127.0.0.1:1") as client, pytest.raises(error, match=told):
        client.predict("job_1", images)


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda c: c.submit("mnist-quadratic"), TypeError, "A preset is given by name: preset='mnist-quadratic'"),
        (lambda c: c.validate("x"), TypeError, "spec is the text 'x'"),
        (lambda c: c.submit_sweep("x"), TypeError, "spec is the text 'x'"),
        (lambda c: c.submit(3), TypeError, "spec must be a mapping such as .* not int"),
        (lambda c: c.submit([("a", 1)]), TypeError, "spec must be a mapping such as .* not list"),
        (lambda c: c.submit({"init": {"std": math.nan}}), ValueError, "spec.init.std is nan"),
        (lambda c: c.submit({"init": {"std": [1, np.inf]}}), ValueError, r"spec.init.std\[1\] is inf"),
        (lambda c: c.submit({"a": b"x"}), TypeError, "spec.a is of type bytes"),
        (lambda c: c.submit({"a": object()}), TypeError, "spec.a is of type object"),
        (lambda c: c.submit({1: 2}), TypeError, "spec has the key 1; a key must be text"),
        (lambda c: c.submit({"a": LOOP}), ValueError, "nested deeper than 100"),
        (lambda c: c.submit({"a": 1j}), TypeError, "spec.a is of type complex"),
        (lambda c: c.submit(preset="x", idempotency_key=3), TypeError, "idempotency_key must be text, not int"),
        (lambda c: c.submit(preset="x", idempotency_key=""), ValueError, "idempotency_key is ''; it must be 1 to 255"),
        (lambda c: c.submit(preset="x", idempotency_key="a\nb"), ValueError, "printable ASCII"),
        (lambda c: c.submit(preset="x", idempotency_key="é"), ValueError, "printable ASCII"),
        (lambda c: c.submit(preset="x", idempotency_key="a" * 256), ValueError, "1 to 255"),
        (lambda c: c.submit(preset="x", tags={"a": {1, 2}, "b": object()}), TypeError, "tags.b is of type object"),
        (lambda c: c.get(None), TypeError, "job_id must be text, not NoneType"),
        (lambda c: c.get(Job_1()), TypeError, "its id is its attribute `id`: 'job_1'"),
        (lambda c: c.get_sweep(5), TypeError, "sweep_id must be text, not int"),
        (lambda c: c.get(""), ValueError, "cannot be empty"),
        (lambda c: c.compare("job_1"), TypeError, "job_ids must be a list of ids, .* not the text 'job_1'"),
        (lambda c: c.compare_diagnosis(3), TypeError, "job_ids must be a list of ids"),
        (lambda c: c.compare(["a", 3]), TypeError, "job_id must be text, not int"),
        (lambda c: c.curve("a", 5), TypeError, "metrics must be a list of names"),
        (lambda c: c.curve("a", [1]), TypeError, "metrics contains 1; each metric must be a name"),
        (lambda c: c.plot("a", format="gif"), ValueError, "format is 'gif'; it must be one of svg, png"),
        (lambda c: c.list(tags="a:b"), TypeError, "tags must be a mapping"),
        (lambda c: c.submit_sweep(preset="x", grid=["loss"]), TypeError, "grid must be a mapping"),
        (lambda c: c.submit_sweep(preset="x", grid={"loss": "quadratic"}), TypeError, "grid.loss must be a list"),
        (lambda c: c.submit_sweep(preset="x", variants=["a"]), TypeError, "variants is the text 'a'"),
        (lambda c: c.trial("a", change="loss"), TypeError, "change is the text 'loss'"),
        (lambda c: c.trial(""), ValueError, "a job's id cannot be empty"),
        (lambda c: c.wait("a", timeout="5"), TypeError, "timeout must be a number of seconds, not the text '5'"),
        (lambda c: c.wait("a", timeout=math.nan), ValueError, "timeout is nan"),
        (lambda c: c.wait("a", timeout=-1), ValueError, "timeout is -1 seconds; it must be 0 or more"),
        (lambda c: c.wait("a", poll=0), ValueError, "poll is 0 seconds; it must be more than 0"),
        (lambda c: c.wait_for_sweep("a", poll=-1), ValueError, "poll is -1"),
        (lambda c: c.wait("a", on_update="print"), TypeError, "on_update must be callable, not str"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_told_by_its_name(kind, call, error, told):
    with a_client(kind, "http://127.0.0.1:1") as client, pytest.raises(error, match=told):
        call(client)


class Job_1:  # noqa: N801
    id = "job_1"


@pytest.mark.parametrize("client_type", [Client, AsyncClient])
@pytest.mark.parametrize("url", [3, b"http://x", ["http://x"]])
def test_an_address_that_is_no_text_is_told(client_type, url):
    with pytest.raises(TypeError, match="url must be text such as"):
        client_type(url)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ALL_PROXY", "nonsense://x"), ("SSL_CERT_FILE", "/nowhere/certificates")],
)
def test_what_the_environment_says_and_cannot_be_used_is_told(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(CostCurveError, match=variable):
        Client("https://service.example")


def _status(client: Client, job_id: str) -> str:
    return client.get(job_id).status


def test_a_client_and_its_methods_go_to_the_processes_of_a_pool():
    with (
        a_server(answers(ENDED), answers(ENDED), NOT_FOUND) as (url, _),
        Client(url) as client,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        assert pool.submit(_status, client, "job_1").result(60) == "succeeded"
        assert pool.submit(client.get, "job_1").result(60).succeeded
        with pytest.raises(ApiError, match="No such job"):
            pool.submit(client.get, "job_1").result(60)


FORKING = """
import os, sys
from costcurve import Client

client = Client(sys.argv[1])
client.get("job_1")
child = os.fork()
client.get("job_1")
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.get("job_1")
"""


def test_a_client_that_is_forked_shares_no_connection_with_its_parent():
    connections: list[int] = []

    def noting(request: BaseHTTPRequestHandler) -> None:
        connections.append(request.client_address[1])
        answers(JOB)(request)

    with a_server(noting) as (url, _):
        subprocess.run([sys.executable, "-c", FORKING, url], check=True, timeout=60)
    assert len(connections) == 4
    assert sorted(connections.count(port) for port in set(connections)) == [1, 3]
