"""The address of a service: a password in it is sent, and shown nowhere."""

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from costcurve import AsyncClient, Client, CostCurveError
from tests.helpers.both_clients import a_client
from tests.helpers.scripted_server import a_server, answers, hangs_up

HTML = b"<!doctype html>\n<html><title>nginx</title></html>"


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


ANSWERS = {
    "refused": answers({"code": "x", "title": "No", "detail": "no", "errors": []}, 400),
    "proxy": answers(HTML, 400, "text/html"),
    "page": answers(HTML, content_type="text/html"),
    "shape": answers({}),
    "moved": answers(b"", 301, headers={"Location": "/elsewhere"}),
    "lie": answers(b"x", headers={"Content-Encoding": "gzip"}),
    "gone": hangs_up,
}


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_password_in_the_address_is_sent_and_never_shown(kind, answer, everything_logged):
    seen = []

    def noting(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        answer(request)

    with a_server(noting) as (url, _):
        address = url.replace("//", "//ada:s3cr%40t@")
        with a_client(kind, address) as client, pytest.raises(CostCurveError) as caught:
            client.get("job_1")
    assert set(seen) == {"Basic YWRhOnMzY3JAdA=="}
    chain: BaseException | None = caught.value
    told = [*everything_logged.messages, *(str(record.args) for record in everything_logged.records)]
    while chain is not None:
        told += [str(chain), repr(chain), str(getattr(chain, "_request", ""))]
        chain = chain.__cause__ or chain.__context__
    for client_type in (Client, AsyncClient):
        made = client_type(address)
        told += [repr(made), str(made), repr(made.remote.address), made.remote.url]
    assert not [text for text in told if "s3cr" in text]
    assert f"Client('{url.replace('//', '//***@')}')" in told


@pytest.mark.parametrize(
    "address",
    [
        "ftp://ada:s3cret@host",
        "http://ada:s3cret@host:99999",
        "http://ada:s3cret@host?x",
        "http://ada:s3/cret@host",
        "http://ada:s3?cret@host",
        "http://ada:s3#cret@host",
        "ada:s3cret@host:8000",
        "http://ada:s3cret@",
        "http://host/?token=s3cret",
    ],
)
@pytest.mark.parametrize("source", ["argument", "environment"])
def test_an_address_that_is_none_is_refused_without_its_password(monkeypatch, address, source):
    if source == "environment":
        monkeypatch.setenv("COSTCURVE_URL", address)
    with pytest.raises(ValueError, match=r"\*\*\*") as caught:
        Client(address if source == "argument" else None)
    assert "cret" not in f"{caught.value} {caught.value.__cause__}"
