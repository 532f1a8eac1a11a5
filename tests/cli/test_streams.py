"""Commands whose streams fail: closed, full, broken, narrow, or without UTF-8; and commands that are interrupted."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.helpers.commands import COSTCURVE, started
from tests.helpers.scripted_server import JOB, Answer, a_server, answers

NAME = "日本語 名前 σ′(z)"
NAMED = {**JOB, "name": NAME, "spec": {"experiment": "neuron", "loss": "quadratic"}}
ANSWERS: list[tuple[str, Answer]] = [
    (r"/v1/jobs/job_1/curve\.csv", answers(b"x,cost\n0,1\n", content_type="text/csv")),
    (r"/v1/jobs\?", answers({"items": [NAMED]})),
    (r"/v1/jobs/", answers(NAMED)),
    (r"/v1/jobs", answers(NAMED, 201)),
]
PRINTING = {
    "list": ["list"],
    "list as JSON": ["list", "--json"],
    "curve as CSV": ["curve", "job_1", "--csv"],
    "help": ["--help"],
    "version": ["--version"],
}


def by_path(request: BaseHTTPRequestHandler) -> None:
    next(answer for pattern, answer in ANSWERS if re.match(pattern, request.path))(request)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with a_server(by_path) as (url, _):
        yield url


def ran_all(
    url: str,
    redirection: str,
    *,
    commands: dict[str, list[str]] = PRINTING,
    environment: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> dict[str, tuple[int, str, str]]:
    """Exit code and both outputs of commands that a shell runs with these redirections."""
    variables = {**os.environ, "COSTCURVE_URL": url, **(environment or {})}
    variables.pop("PYTHONUNBUFFERED", None)
    running = {
        name: subprocess.Popen(
            ["bash", "-c", f'exec "$@" {redirection}', "-", *COSTCURVE, *arguments],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        for name, arguments in commands.items()
    }
    found = {}
    for name, process in running.items():
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err, (name, err)
        assert "Exception ignored" not in err, (name, err)
        found[name] = (process.returncode, out, err)
    return found


@pytest.mark.parametrize(
    ("redirection", "told"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_results_that_cannot_be_written_are_told(url, redirection, told):
    for name, (code, out, err) in ran_all(url, redirection).items():
        assert (code, out) == (1, ""), (name, err)
        assert err == f"costcurve: cannot write to standard output: {told}\n", name


def test_a_reader_that_has_gone_gives_its_own_exit_code(url):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for name, (code, _, err) in ran_all(url, f">&{writing}", pass_fds=[writing]).items():
            assert (code, err) == (141, ""), name
    finally:
        os.close(writing)


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_remarks_that_cannot_be_written_do_not_change_the_result(url, redirection):
    submit = {"submit": ["submit", "--experiment", "neuron"]}
    assert ran_all(url, redirection, commands=submit)["submit"][:2] == (0, "job_1\n")


def test_all_streams_may_be_closed(url):
    for name, (code, *_) in ran_all(url, "<&- >&- 2>&-").items():
        assert code == 1, name


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "C"],
)
def test_a_terminal_without_utf_8_is_shown_what_it_can(url, environment):
    found = ran_all(url, "", environment=environment)
    assert {code for code, *_ in found.values()} == {0}
    assert json.loads(found["list as JSON"][1])["items"][0]["name"] == NAME
    assert "???" in found["list"][1]


@pytest.mark.parametrize("arguments", [["list"], ["show", "job_1"], ["submit", "--help"]], ids=" ".join)
def test_nothing_is_wider_than_a_narrow_terminal(url, arguments):
    columns = 20
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "COSTCURVE_URL": url, "TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    command = [*COSTCURVE, *arguments]
    process = subprocess.Popen(command, stdout=theirs, stdin=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    written = b""
    while piece := _read(ours):
        written += piece
    os.close(ours)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).splitlines()
    assert max(map(cell_len, lines)) <= columns, lines


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the other end is closed
        return b""


class Held:
    """An answer that is not given before it is let go."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.keys: list[str | None] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        self.keys.append(request.headers["Idempotency-Key"])
        self.asked.set()
        assert self.let_go.wait(60)
        self.answer(request)


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


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["submit", "--experiment", "neuron"], JOB),
        (["clone", "job_1"], JOB),
        (["fork", "job_1", "--at-epoch", "5", "--loss", "quadratic"], JOB),
        (["sweep", "submit", "--experiment", "neuron"], SWEEP),
    ],
)
def test_ctrl_c_during_a_submission_tells_how_to_learn_what_became_of_it(tmp_path, arguments, answer):
    held = Held(answers(answer, 201))
    with a_server(held) as (url, _):
        with started(*arguments, home=tmp_path, url=url, stderr=subprocess.PIPE) as process:
            assert held.asked.wait(60)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            (line,) = process.stderr.read().splitlines()
        held.let_go.set()
        (key,) = held.keys
        assert line.startswith("interrupted; the job may have been queued")
        assert f"repeat the command with --idempotency-key {key}, " in line
        with started(*arguments, "--idempotency-key", key, home=tmp_path, url=url) as process:
            assert process.stdout.read() == f"{answer['id']}\n"
        assert held.keys == [key, key]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["cancel", "job_1"],
            "interrupted; the change may have been made: `costcurve show job_1` shows the current state\n",
        ),
        (
            ["delete", "job_1"],
            "interrupted; the change may have been made: `costcurve show job_1` shows the current state\n",
        ),
        (["sweep", "retry", "swp_1"], "interrupted; the change may have been made: `costcurve sweep show swp_1`"),
        (["list"], "interrupted\n"),
    ],
)
def test_ctrl_c_says_what_may_have_been_done(tmp_path, arguments, told):
    held = Held(answers(JOB))
    with a_server(held) as (url, _):
        with started(*arguments, home=tmp_path, url=url, stderr=subprocess.PIPE) as process:
            assert held.asked.wait(60)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr.read().startswith(told)
        held.let_go.set()


def test_a_submission_whose_answer_got_lost_tells_its_key_also_as_json(tmp_path):
    keys: list[str] = []

    def lost(request: BaseHTTPRequestHandler) -> None:
        keys.append(request.headers["Idempotency-Key"])
        request.close_connection = True

    with (
        a_server(lost) as (url, _),
        started(
            "submit", "--experiment", "neuron", "--json", home=Path(tmp_path), url=url, stderr=subprocess.PIPE
        ) as process,
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert json.loads(err)["idempotency_key"] == keys[0]
    assert set(keys) == {keys[0]}
