"""The command line as people and scripts use it, against what `costcurve up` starts."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from costcurve import Client
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.pagination import JobQuery
from tests.helpers.commands import Ran, piped, runner, started
from tests.helpers.processes import until

LONG = ["--experiment", "neuron", "--epochs", "1000000"]


def descendants(pid: int) -> set[int]:
    """The processes below this one, from Linux's process table."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {pid}
    while below := {child for child, parent in parents.items() if parent in found} - found:
        found |= below
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    """Those that still run; an ended process that nobody has collected is none."""

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `up --json` says once it is ready."""
    home = tmp_path_factory.mktemp("home")
    with started("up", "--port", "0", "--workers", "1", "--json", home=home) as process:
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


@pytest.fixture
def run(up: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("COSTCURVE_URL", up["url"])
    return runner(capsys)


@pytest.fixture
def finished(run) -> str:
    """The id of a job that has succeeded."""
    ran = run("submit", "--preset", "neuron-slow-quadratic", "--epochs", "40", "--watch")
    assert ran.code == 0, ran.err
    return ran.out.strip()


def test_up_says_where_it_is_and_where_it_keeps_things(up):
    assert up["url"].startswith("http://127.0.0.1:")
    assert (Path(up["home"]) / "costcurve.db").is_file()


def test_submit_prints_the_id_and_nothing_else(run):
    ran = run("submit", "--experiment", "neuron", "--tag", "a=b")
    assert re.fullmatch(r"job_\w+\n", ran.out)
    assert "costcurve watch job_" in ran.err
    assert run("watch", ran.out.strip()).code == 0


def test_submit_and_watch_keeps_the_standard_output_for_the_id(run):
    ran = run("submit", "--preset", "neuron-good-start", "--watch")
    assert re.fullmatch(r"job_\w+\n", ran.out)
    assert "succeeded: output 0.09" in ran.err


def test_watch_ends_with_the_result(run, finished):
    ran = run("watch", finished)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{finished} succeeded: output 0.9")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "{job}"],
        ["watch", "{job}"],
        ["list", "--limit", "1"],
        ["curve", "{job}", "--metrics", "cost,output"],
        ["curve", "{job}", "--granularity", "step", "--max-points", "20"],
        ["transcript", "{job}"],
        ["presets"],
        ["validate", "--preset", "mnist-quadratic"],
        ["submit", "--experiment", "neuron"],
        ["submit", "--experiment", "neuron", "--watch"],
    ],
)
def test_with_json_every_command_prints_one_document_and_nothing_else(run, finished, arguments):
    ran = run(*(argument.format(job=finished) for argument in arguments), "--json")
    assert ran.code == 0
    assert isinstance(json.loads(ran.out), dict)


def test_a_spec_comes_from_a_file_or_from_standard_input(run, tmp_path, monkeypatch):
    file = tmp_path / "spec.json"
    file.write_text('{"experiment": "neuron", "epochs": 7}')
    assert json.loads(run("validate", "--spec", str(file), "--json").out)["spec"]["epochs"] == 7
    monkeypatch.setattr("sys.stdin", piped('{"preset": "neuron-good-start", "spec": {"epochs": 8}}'))
    assert json.loads(run("validate", "--spec", "-", "--seed", "5", "--json").out)["total_steps"] == 8


def test_a_submission_prints_its_warnings_and_validate_the_forecast(run):
    wrong = ("--preset", "mnist-slow-quadratic")
    ran = run("submit", *wrong)
    assert "warning (output_saturated_quadratic): The outputs start badly wrong" in ran.err
    assert re.fullmatch(r"job_\w+\n", ran.out)
    shown = run("validate", *wrong).out
    assert "expected at the start: saturated_fraction.1 61.80 %" in shown
    assert "warning (output_saturated_quadratic)" in shown
    assert "effective learning rate 0.3; sound: about" in run("validate", "--preset", "mnist-cross-entropy").out
    assert (
        "simulated: half way at update 233; output 0.202848 after 300"
        in run("validate", "--preset", "neuron-slow-quadratic").out
    )


def test_the_flow_of_a_training_is_saved(run, finished, tmp_path):
    assert run("flow", finished, str(tmp_path / "flow.svg")).code == 0
    assert (tmp_path / "flow.svg").read_bytes().startswith(b"<?xml")
    refused = run("flow", finished, "flow.gif")
    assert refused.code == 2
    assert "FILE" in refused.err


def test_a_curve_is_shown_saved_and_listed(run, finished, tmp_path):
    shown = run("curve", finished, "--metrics", "output")
    assert re.search(r"output +[▁▂▃▄▅▆▇█]{41}\n", shown.out)
    assert "first 0.982014" in shown.out
    assert len(run("curve", finished, "--csv").out.splitlines()) == 42
    plot = tmp_path / "new folder" / "plot.png"
    assert run("curve", finished, "--plot", str(plot), "--log", "--title", "T").code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_several_jobs_make_one_plot(run, finished, tmp_path):
    other = run("submit", "--preset", "neuron-slow-cross-entropy", "--watch").out.strip()
    plot = tmp_path / "plot.svg"
    assert run("curve", finished, other, "--plot", str(plot), "--metrics", "output").code == 0
    assert "<svg" in plot.read_text()


def test_jobs_are_compared_side_by_side(run, finished, tmp_path):
    other = run("submit", "--preset", "neuron-slow-cross-entropy", "--watch").out.strip()
    plot = tmp_path / "plot.svg"
    shown = run("compare", finished, other, "--plot", str(plot), "--metrics", "output")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].split() == [finished, other]
    assert ["loss", "quadratic", "cross_entropy"] in [line.split() for line in lines]
    assert ["epochs", "40", "300"] in [line.split() for line in lines]
    assert any(line.startswith("final_output") for line in lines)
    assert "<svg" in plot.read_text()

    comparison = json.loads(run("compare", finished, other, "--json", "--metrics", "output", "--max-points", "10").out)
    assert comparison["curves"]["sampled"]
    assert run("compare", finished, other, "--csv").out.splitlines()[0].startswith(f"x,{finished}.cost,")


def test_a_curve_is_shown_by_steps_and_by_few_points(run, finished):
    rows = run("curve", finished, "--csv", "--metrics", "cost", "--granularity", "step", "--max-points", "4").out
    assert len(rows.splitlines()) <= 5
    assert rows.splitlines()[-1].startswith("40,")
    refused = run("curve", finished, "--max-points", "1")
    assert (refused.code, "at least 16" in refused.err) == (2, True)


def test_the_worker_that_up_started_is_listed(run, finished):
    header, worker = run("workers").out.splitlines()
    assert header.split() == ["ID", "HOST", "PID", "DEVICE", "ENGINES", "HEARTBEAT", "JOBS"]
    assert worker
    assert json.loads(run("workers", "--json").out)["items"][0]["job_ids"] == []


def test_a_list_shows_what_the_filters_leave(run, finished):
    assert finished in run("list", "--status", "succeeded", "--loss", "quadratic").out
    assert finished not in run("list", "--loss", "cross_entropy").out
    none = run("list", "--tag", "no=such")
    assert (none.code, none.out, none.err) == (0, "", "no jobs\n")


def test_a_cancelled_job_makes_watch_fail(run):
    job = run("submit", *LONG).out.strip()
    assert run("cancel", job).code == 0
    watched = run("watch", job)
    assert watched.code == 1
    assert f"{job} cancelled" in watched.out


def test_cancelling_a_finished_job_is_refused(run, finished):
    ran = run("cancel", finished)
    assert (ran.code, ran.out) == (1, "")
    assert "succeeded" in ran.err


def test_a_spec_that_is_not_valid_is_told_field_by_field(run):
    ran = run("submit", "--experiment", "mnist", "--epochs", "0", "--init", '{"scheme": "normal", "std": -1}')
    assert (ran.code, ran.out) == (2, "")
    assert "  /spec/epochs: " in ran.err
    assert "  /spec/init/std: " in ran.err


def test_with_json_errors_are_json_on_standard_error(run):
    ran = run("submit", "--experiment", "neuron", "--epochs", "0", "--json")
    assert (ran.code, ran.out) == (2, "")
    problem = json.loads(ran.err)
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_request", "/spec/epochs")
    assert json.loads(run("show", "job_none", "--json").err)["code"] == "job_not_found"
    assert json.loads(run("list", "--url", "http://127.0.0.1:1", "--json").err)["code"] == "service_unreachable"


def test_a_job_that_does_not_exist_is_not_found(run):
    for command in ("show", "watch", "cancel", "curve", "transcript"):
        ran = run(command, "job_none")
        assert (ran.code, ran.out) == (3, "")
        assert "No such job" in ran.err


def test_a_metric_that_is_not_recorded_is_a_usage_error(run, finished):
    ran = run("curve", finished, "--metrics", "beauty")
    assert ran.code == 2
    assert "beauty is not recorded; known: cost" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "--experiment", "neuron", "--bogus"],
        ["submit", "--experiment", "neuron", "--epochs", "many"],
        ["show"],
        ["show", ""],
        ["curve", "a", "b"],
        ["curve", ""],
        ["curve", "a", "--plot", "plot.gif"],
        ["curve", "a", "--csv", "--json"],
        ["curve", "a", "--granularity", "second"],
        ["curve", "a", "--plot", "plot.svg", "--max-points", "10"],
        ["compare", "a"],
        ["compare", "a", "b", "--csv", "--json"],
        ["compare", "a", "b", "--title", "T"],
        ["list", "--url", "nonsense"],
        ["list", "--order", "beauty"],
        ["up", "--port", "65536"],
        ["nonsense"],
    ],
)
def test_wrong_usage_has_exit_code_2(run, arguments):
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_where_nobody_answers_the_exit_code_is_4_and_the_text_says_how_to_start_a_service(run):
    ran = run("--url", "http://127.0.0.1:1", "list")
    assert (ran.code, ran.out) == (4, "")
    assert "no service answers at http://127.0.0.1:1" in ran.err
    assert "costcurve up" in ran.err


def test_the_help_tells_the_exit_codes(run):
    ran = run("--help")
    assert ran.code == 0
    assert "Exit codes:" in ran.out
    assert "4 no service answers" in " ".join(ran.out.split())  # wherever lines are broken


def test_ctrl_c_ends_the_watching_and_not_the_job(run, up, tmp_path):
    with started("submit", *LONG, "--watch", home=tmp_path, url=up["url"], stderr=subprocess.PIPE) as process:
        job = process.stdout.readline().strip()
        assert process.stderr.readline().startswith(job)  # the first line of its progress
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert f"{job} continues" in process.stderr.read()
    with Client(up["url"]) as client:
        assert client.get(job).status in {"queued", "running"}
        client.cancel(job)


def test_a_reader_that_stops_reading_causes_no_complaint(run, up, tmp_path):
    job = run("submit", "--experiment", "neuron", "--epochs", "20000", "--watch").out.strip()
    with started("transcript", job, home=tmp_path, url=up["url"], stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith("Epoch 0: ")
        process.stdout.close()
        assert process.wait(120) == 141
        assert process.stderr.read() == ""


def test_output_without_a_terminal_is_whole_lines_without_colours(run, finished):
    lines = run("list").out.splitlines()
    assert any(line.split()[0] == finished for line in lines)
    assert all("\x1b" not in line and "…" not in line for line in lines)


@pytest.mark.slow
def test_up_that_is_killed_leaves_nothing_running(tmp_path):
    with started("up", "--port", "0", "--workers", "1", "--json", home=tmp_path) as process:
        process.stdout.readline()
        children = until(lambda: descendants(process.pid), lambda found: len(found) >= 3)
        process.kill()
        process.wait()
        until(lambda: alive(children), lambda left: not left)


@pytest.mark.slow
def test_up_ends_all_that_it_started_in_order(tmp_path):
    with (
        (tmp_path / "log").open("w+") as log,
        started("up", "--port", "0", "--workers", "1", "--json", home=tmp_path, stderr=log.fileno()) as process,
    ):
        assert json.loads(process.stdout.readline())["home"] == str(tmp_path)
        children = until(lambda: descendants(process.pid), lambda found: len(found) >= 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        log.seek(0)
        assert [line for line in log if "[info " not in line] == ["ending …\n"]
    until(lambda: alive(children), lambda left: not left)


@pytest.mark.slow
def test_up_told_to_end_before_it_is_ready_ends_all_that_it_started(tmp_path):
    with started("up", "--port", "0", "--workers", "1", home=tmp_path) as process:
        children = until(lambda: descendants(process.pid), lambda found: len(found) >= 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
        assert process.stdout.read() == ""
    until(lambda: alive(children), lambda left: not left)


@pytest.mark.slow
def test_up_ends_with_an_error_when_the_service_dies(tmp_path):
    with started("up", "--port", "0", "--workers", "1", "--json", home=tmp_path, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        children = until(lambda: descendants(process.pid), lambda found: len(found) >= 3)
        service = next(pid for pid in children if b"\0service\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(service, signal.SIGKILL)
        assert process.wait(120) == 1
        assert "the service ended unexpectedly (SIGKILL)" in process.stderr.read()
    until(lambda: alive(children), lambda left: not left)


def test_up_refuses_an_address_that_is_taken_and_starts_nothing(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("up", "--port", str(port))
    assert (ran.code, ran.out) == (1, "")
    assert f"port {port} on 127.0.0.1 is already in use" in ran.err


@pytest.mark.slow
def test_a_demo_that_is_interrupted_leaves_neither_processes_nor_jobs_behind(tmp_path):
    home, output = tmp_path / "home", tmp_path / "demo"
    with started("demo", "--output", str(output), home=home, stderr=subprocess.PIPE) as process:
        assert "starting a service" in process.stderr.readline()
        assert process.stderr.readline().startswith("neuron-good-start")
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert "interrupted" in process.stderr.read()
    until(lambda: alive(children), lambda left: not left)
    database = Database(f"sqlite:///{home}/costcurve.db")
    jobs = JobStore(database).list(JobQuery()).items
    database.close()
    assert len(jobs) == 7
    assert all(job.is_terminal for job in jobs)
