"""What the command line does to jobs after they were submitted, against a service without workers."""

import json
import re
from collections.abc import Callable

import pytest

from costcurve import Client
from tests.helpers.commands import Ran, runner, started
from tests.helpers.processes import Deployment


@pytest.fixture
def run(service: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("COSTCURVE_URL", service.url)
    return runner(capsys)


@pytest.fixture
def job(run) -> str:
    """The id of a queued job."""
    return run("submit", "--experiment", "neuron", "--name", "n", "--tag", "a=b").out.strip()


def shown(run: Callable[..., Ran], job: str) -> dict[str, str]:
    """What `show` says, by label."""
    rows = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in run("show", job).out.splitlines())
    return {row[0]: row[1] for row in rows}


def test_a_job_is_paused_and_resumed(run, job):
    assert run("pause", job).out == f"{job} paused: paused by its client\n"
    assert run("list", "--status", "paused").out.split("\n")[1].startswith(f"{job}  paused")
    assert "place in the queue" not in shown(run, job)
    assert run("resume", job).out == f"{job} queued: resumed by its client; no worker is alive\n"
    assert int(shown(run, job)["place in the queue"]) >= 1


def test_watching_a_paused_job_says_so_and_goes_on_until_it_ends(run, job, service, tmp_path):
    run("pause", job)
    with started("watch", job, home=tmp_path, url=service.url) as process, Client(service.url) as client:
        assert process.stdout.readline() == f"{job}  paused: paused by its client\n"
        client.resume(job)
        assert process.stdout.readline().startswith(f"{job}  queued: resumed by its client")
        client.cancel(job)
        assert process.wait(120) == 1
        assert process.stdout.read() == f"{job} cancelled: cancelled by its client\n"


def test_a_clone_is_queued_and_says_of_what_it_is_one(run, job):
    cloned = run("clone", job, "--epochs", "7", "--tag", "c=d")
    assert re.fullmatch(r"job_\w+\n", cloned.out)
    assert "costcurve watch job_" in cloned.err
    rows = shown(run, cloned.out.strip())
    assert (rows["parent"], rows["epochs"], rows["name"], rows["tags"]) == (job, "7", "n", "c=d")


def test_a_fork_is_queued_and_says_from_where_on_it_differs(run, job):
    forked = run("fork", job, "--at-epoch", "5", "--loss", "quadratic", "--learning-rate", "0.5", "--name", "m")
    assert re.fullmatch(r"job_\w+\n", forked.out)
    rows = shown(run, forked.out.strip())
    assert (rows["parent"], rows["name"], rows["tags"]) == (job, "m", "a=b")
    assert rows["schedule"] == "quadratic, sum_outputs, 0.5 from 5"
    assert "schedule" not in shown(run, job)


def test_a_fork_that_does_not_fit_the_job_is_told_field_by_field(run, job):
    ran = run("fork", job, "--at-epoch", "300", "--loss", "quadratic")
    assert (ran.code, ran.out) == (2, "")
    assert "  /at_epoch: must be less than epochs, 300" in ran.err


def test_a_schedule_is_given_as_json(run):
    schedule = '[{"from_epoch": 3, "learning_rate": 0.5}]'
    job = run("submit", "--experiment", "neuron", "--schedule", schedule).out.strip()
    assert shown(run, job)["schedule"] == "cross_entropy, sum_outputs, 0.5 from 3"
    assert "schedule: cross_entropy" in run("validate", "--experiment", "neuron", "--schedule", schedule).out
    plain = run("clone", job, "--schedule", "[]").out.strip()
    assert "schedule" not in shown(run, plain)
    assert "not JSON" in run("submit", "--experiment", "neuron", "--schedule", "[").err


def test_overrides_that_do_not_fit_the_job_are_told_field_by_field(run, job):
    ran = run("clone", job, "--epochs", "0", "--layers", "784,10")
    assert (ran.code, ran.out) == (2, "")
    assert "  /spec/epochs: " in ran.err
    assert "  /spec/layers: " in ran.err


def test_a_job_is_renamed_tagged_hurried_and_pinned(run, job):
    assert run("update", job, "--name", "m", "--tag", "c=d", "--priority", "90", "--pin").code == 0
    rows = shown(run, job)
    assert (rows["name"], rows["tags"], rows["pinned"]) == ("m", "c=d", "kept after its retention time")
    assert "priority 90" in rows["runs on"]
    assert run("update", job, "--name", "", "--tag", "", "--unpin").code == 0
    assert {"name", "tags", "pinned"}.isdisjoint(shown(run, job))


def test_only_a_job_that_has_ended_is_deleted(run, job):
    refused = run("delete", job)
    assert (refused.code, refused.out) == (1, "")
    assert "cancel it first" in refused.err
    run("cancel", job)
    assert run("delete", job).out == f"{job} deleted\n"
    assert run("delete", job).code == 3


def test_events_tell_what_happened_when_and_why(run, job):
    run("cancel", job)
    header, submitted, cancelled = run("events", job).out.splitlines()
    assert header.split() == ["AT", "STATUS", "WHY", "BY"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +queued +submitted +client", submitted)
    assert re.search(r"cancelled +cancelled by its client +client", cancelled)


def test_where_nobody_works_it_is_said(run):
    ran = run("workers")
    assert (ran.code, ran.out, ran.err) == (0, "", "no worker is alive\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause", "{job}"],
        ["resume", "{job}"],
        ["cancel", "{job}"],
        ["clone", "{job}", "--seed", "3"],
        ["update", "{job}", "--priority", "3"],
        ["events", "{job}"],
        ["workers"],
    ],
)
def test_with_json_every_command_prints_one_document_and_nothing_else(run, job, arguments):
    ran = run(*(argument.format(job=job) for argument in arguments), "--json")
    assert ran.code == 0
    assert isinstance(json.loads(ran.out), dict)


def test_with_json_a_deletion_says_what_it_deleted(run, job):
    run("cancel", job)
    assert json.loads(run("delete", job, "--json").out) == {"id": job, "deleted": True}


@pytest.mark.parametrize("command", ["pause", "resume", "clone", "delete", "events"])
def test_a_job_that_does_not_exist_is_not_found(run, command):
    ran = run(command, "job_none")
    assert (ran.code, ran.out) == (3, "")
    assert "No such job" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["update", "{job}"], ["update", "{job}", "--tag", "novalue"], ["update", "{job}", "--priority", "101"]],
)
def test_a_change_that_cannot_be_meant_is_a_usage_error(run, job, arguments):
    ran = run(*(argument.format(job=job) for argument in arguments))
    assert (ran.code, ran.out) == (2, "")
