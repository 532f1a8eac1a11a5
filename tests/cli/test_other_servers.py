"""Every command against servers that are not CostCurve, and against none: an exit code and a text, no traceback."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from costcurve.cli.app import app
from costcurve.client import transport
from tests.helpers.commands import Ran, runner
from tests.helpers.scripted_server import JOB, Answer, a_server, answers

COMMANDS = {
    "submit": ["submit", "--experiment", "neuron"],
    "clone": ["clone", "job_1"],
    "fork": ["fork", "job_1", "--at-epoch", "5"],
    "validate": ["validate", "--experiment", "neuron"],
    "watch": ["watch", "job_1"],
    "show": ["show", "job_1"],
    "list": ["list"],
    "events": ["events", "job_1"],
    "pause": ["pause", "job_1"],
    "resume": ["resume", "job_1"],
    "cancel": ["cancel", "job_1"],
    "update": ["update", "job_1", "--name", "x"],
    "delete": ["delete", "job_1"],
    "curve": ["curve", "job_1"],
    "curve --csv": ["curve", "job_1", "--csv"],
    "curve --plot": ["curve", "job_1", "--plot", "{folder}/plot.svg"],
    "compare": ["compare", "job_1", "job_2"],
    "diagnose": ["diagnose", "job_1"],
    "cure": ["cure", "job_1"],
    "flow": ["flow", "job_1", "{folder}/flow.svg"],
    "transcript": ["transcript", "job_1"],
    "model": ["model", "job_1", "{folder}/model.onnx"],
    "predict": ["predict", "job_1", "{folder}/images.json"],
    "confusion": ["confusion", "job_1"],
    "mistakes": ["mistakes", "job_1"],
    "presets": ["presets"],
    "workers": ["workers"],
    "me": ["me"],
    "article": ["article", "--output", "{folder}"],
    "sweep submit": ["sweep", "submit", "--experiment", "neuron"],
    "sweep show": ["sweep", "show", "swp_1"],
    "sweep list": ["sweep", "list"],
    "sweep watch": ["sweep", "watch", "swp_1"],
    "sweep cancel": ["sweep", "cancel", "swp_1"],
    "sweep retry": ["sweep", "retry", "swp_1"],
    "sweep plot": ["sweep", "plot", "swp_1", "{folder}/plot.png"],
    "sweep presets": ["sweep", "presets"],
}
WITHOUT_A_SERVICE = {"demo", "up", "serve", "work", "db", "login", "logout", "keys", "projects"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[list[str], str], Ran]:
    (tmp_path / "images.json").write_text(json.dumps([[0] * 784]))
    command = runner(capsys)
    return lambda arguments, url: command("--url", url, *(each.format(folder=tmp_path) for each in arguments))


def test_every_command_is_tried():
    top = get_command(app).commands
    assert {name.split()[0] for name in COMMANDS} | WITHOUT_A_SERVICE == set(top)
    assert {name.split()[1] for name in COMMANDS if name.startswith("sweep ")} == set(top["sweep"].commands)


OTHERS: dict[str, tuple[Answer, int]] = {
    "a page": (answers(b"<html>hello</html>", content_type="text/html"), 1),
    "a page as JSON": (answers(b"<html>hello</html>"), 1),
    "an object": (answers({}), 1),
    "a list": (answers([]), 1),
    "a number": (answers(3), 1),
    "deep JSON": (answers(b"[" * 50_000), 1),
    "nothing": (answers(b"", 200, ""), 1),
    "a redirect": (answers(b"", 302, headers={"Location": "https://login.example/"}), 1),
    "a lie": (answers(b"text", headers={"Content-Encoding": "br, gzip, deflate"}), 1),
    "an error page": (answers(b"<html>", 500, "text/html"), 1),
    "a problem of another program": (answers({"title": 3, "errors": "no"}, 422), 2),
    "a problem with odd fields": (
        answers({"code": 1, "title": None, "detail": {}, "errors": [{"pointer": 1, "message": []}]}, 404),
        3,
    ),
    "not allowed": (answers(b"", 401, ""), 1),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_costcurve_is_told_by_every_command(run, name):
    for other, (answer, code) in OTHERS.items():
        with a_server(answer) as (url, asked):
            ran = run(COMMANDS[name], url)
        # Deleting looks at nothing but the status.
        expected = {0, code} if name == "delete" else {code}
        assert ran.code in expected, (other, ran)
        assert "Traceback" not in ran.err
        assert ran.code == 0 or ran.err.count("costcurve: ") == 1, (other, ran)
        assert len(asked) == 1, other


@pytest.mark.parametrize("name", COMMANDS)
def test_where_no_service_is_every_command_says_so_without_a_password(run, name, monkeypatch):
    monkeypatch.setattr(transport, "CONNECT_RETRY_SECONDS", 0.0)
    ran = run(COMMANDS[name], "http://ada:s3cret@127.0.0.1:1")
    assert (ran.code, ran.out) == (4, "")
    assert "no service answers at http://***@127.0.0.1:1" in ran.err
    assert "s3cret" not in ran.err


@pytest.mark.parametrize("url", ["http://ada:s3cret@h?x", "ada:s3cret@h", "http://ada:s3cret@h:x"])
def test_an_address_that_is_none_is_told_without_its_password(run, url):
    ran = run(["list"], url)
    assert ran.code == 2
    assert "s3cret" not in ran.err


@pytest.mark.parametrize(
    "job",
    [
        {"exec_profile": {}},
        {"exec_profile": {"threads": None, "versions": 3}},
        {"result": {"train_seconds": None, "final_correct": None}},
        {"result": {"final_accuracy": "x"}},
        {"spec": {}},
        {"spec": {"layers": None, "init": [1], "loss": {}}},
        {"status": "a new one", "is_terminal": True},
    ],
)
@pytest.mark.parametrize("command", ["show", "watch", "list"])
def test_a_job_of_a_newer_service_is_shown(run, command, job):
    document = {**JOB, "is_terminal": True, "status": "succeeded", **job}

    def answer(request) -> None:
        answers({"items": [document]} if request.path.startswith("/v1/jobs?") else document)(request)

    with a_server(answer) as (url, _):
        assert run(COMMANDS[command], url).code in {0, 1}


def test_a_service_that_is_waited_for_is_told(run, monkeypatch):
    monkeypatch.setattr(transport, "_LOG_AFTER_SECONDS", 0.0)
    restarting = answers(b"<html>", 502, "text/html")
    with a_server(restarting, answers({"items": []})) as (url, _):
        ran = run(["list"], url)
    assert (ran.code, ran.err) == (0, f"costcurve: {url} answers 502 Bad Gateway; retrying\nno jobs\n")
