"""The key of a client: where it comes from, where it is sent, and that it is shown nowhere."""

import copy
import json
import logging
import pickle
import stat
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from costcurve import ApiError, AsyncClient, Client, CostCurveError, Moved
from costcurve.client.api_key import ApiKey, keys_file, remove_stored
from tests.helpers.commands import Ran, piped, runner
from tests.helpers.scripted_server import JOB, Answer, a_server, answers, hangs_up

KEY = "cck_0123456789ab_" + "c4nary" * 7 + "x"
OTHER = "cck_ba9876543210_" + "0ther-" * 7 + "x"
CALLER = {"project": "class", "key_id": "key_1", "key_name": "ada", "scopes": ["read", "submit"]}
REFUSAL = {"code": "unauthorized", "title": "A valid key is needed", "detail": "…", "errors": []}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of the test's own, and no key in the environment."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("COSTCURVE_API_KEY", raising=False)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    return runner(capsys)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def noting(seen: list[str | None], then: Answer) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        then(request)

    return answer


def sent(make: Callable[[str], Client]) -> list[str | None]:
    """The Authorization header of a request of this client."""
    seen: list[str | None] = []
    with a_server(noting(seen, answers(JOB))) as (url, _), make(url) as client:
        client.get("job_1")
    return seen


def test_a_key_comes_from_the_argument_then_the_environment_then_the_file(monkeypatch):
    def stored(url: str) -> Client:
        ApiKey(OTHER).store(url)
        return Client(url)

    def of_another_service(url: str) -> Client:
        ApiKey(OTHER).store(f"{url}0")
        return Client(url)

    assert sent(lambda url: Client(url, api_key=KEY)) == [f"Bearer {KEY}"]
    assert sent(stored) == [f"Bearer {OTHER}"]
    assert sent(of_another_service) == [None]
    monkeypatch.setenv("COSTCURVE_API_KEY", KEY)
    assert sent(stored) == [f"Bearer {KEY}"]
    assert sent(lambda url: Client(url, api_key=OTHER)) == [f"Bearer {OTHER}"]
    assert sent(lambda url: Client(url, api_key="")) == [None]


@pytest.mark.parametrize(
    "answer",
    [
        answers(REFUSAL, 401),
        answers(b"<html>", content_type="text/html"),
        answers({}),
        answers(b"", 307, headers={"Location": "/elsewhere"}),
        hangs_up,
    ],
)
def test_a_key_is_in_no_error_log_or_repr(answer, everything_logged):
    with a_server(*[answer] * 30) as (url, _), Client(url, api_key=KEY) as client:
        with pytest.raises(CostCurveError) as caught:
            client.get("job_1")
        shown = [repr(client), repr(client.remote.__dict__), str(caught.value), repr(caught.value.__dict__)]
        shown += [repr(ApiKey(KEY)), everything_logged.text, repr(AsyncClient(url, api_key=KEY))]
    assert not [text for text in shown if "c4nary" in text]


def test_a_key_is_not_sent_where_a_redirect_leads():
    seen: list[str | None] = []
    with a_server(noting(seen, answers(JOB))) as (elsewhere, _):
        away = answers(b"", 307, headers={"Location": f"{elsewhere}/v1/jobs/job_1"})
        with a_server(away) as (url, _), Client(url, api_key=KEY) as client, pytest.raises(Moved):
            client.get("job_1")
    assert seen == []


def test_a_copy_in_another_process_has_the_key(monkeypatch):
    def copied(url: str) -> Client:
        return pickle.loads(pickle.dumps(copy.copy(Client(url, api_key=KEY))))  # noqa: S301 - our own

    assert sent(copied) == [f"Bearer {KEY}"]
    monkeypatch.setenv("COSTCURVE_API_KEY", KEY)
    assert b"c4nary" not in pickle.dumps(Client())


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ", "x" * 201, " "])
def test_what_is_no_key_is_refused_and_not_repeated(key):
    with pytest.raises(ValueError, match="api_key is not a key") as caught:
        Client(api_key=key)
    assert key.strip() == "" or key not in str(caught.value)


def test_an_address_with_a_password_takes_no_key_as_well():
    with pytest.raises(ValueError, match=r"'http://\*\*\*@localhost' has a user or password"):
        Client("http://ada:c4nary@localhost", api_key=KEY)


def test_a_file_of_keys_that_others_may_read_is_refused():
    ApiKey(KEY).store("http://127.0.0.1:8000")
    file = keys_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {"http://127.0.0.1:8000": KEY}
    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(CostCurveError, match=rf"mode {mode:04o}\); run: chmod 600 {file}"):
            Client("http://127.0.0.1:8000")
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(CostCurveError, match="is not JSON"):
        Client("http://127.0.0.1:8000")


def test_login_stores_a_key_that_the_service_takes(run, monkeypatch):
    seen: list[str | None] = []
    with a_server(noting(seen, answers(CALLER))) as (url, _):
        monkeypatch.setattr("sys.stdin", piped(f"{KEY}\n"))
        ran = run("--url", f"{url}/", "login")
        assert (ran.code, ran.out) == (0, "project class, key ada, scopes read, submit\n")
        assert str(keys_file()) in ran.err
        assert run("--url", url, "me").out == ran.out
        assert "removed" in run("--url", url, "logout").err
        run("--url", url, "me")
        assert seen == [f"Bearer {KEY}", f"Bearer {KEY}", None]
        assert not remove_stored(url)
    assert "c4nary" not in ran.out + ran.err + " ".join(path for _, path, _ in _)


def test_login_stores_no_key_that_is_refused_and_none_where_none_is_needed(run, monkeypatch):
    for answer, said in (
        (answers(REFUSAL, 401), "A valid key is needed"),
        (answers({**CALLER, "key_id": None}), "no key"),
    ):
        with a_server(answer) as (url, _):
            monkeypatch.setattr("sys.stdin", piped(f"{KEY}\n"))
            ran = run("--url", url, "login")
        assert ran.code == 1
        assert said in ran.err
        assert "c4nary" not in ran.out + ran.err
        assert not keys_file().exists()


def test_a_refused_key_is_not_tried_again():
    with a_server(answers(REFUSAL, 401)) as (url, asked), Client(url, api_key=KEY) as client:
        with pytest.raises(ApiError) as caught:
            client.get("job_1")
        assert (caught.value.code, len(asked)) == ("unauthorized", 1)
