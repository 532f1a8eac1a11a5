"""`costcurve sweep`, against a service with and without a worker."""

import json
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from costcurve import Client
from costcurve.core.presets import SWEEP_PRESETS
from tests.helpers.commands import Ran, runner, started
from tests.helpers.processes import Deployment, until

GRID = ["--grid", "loss=quadratic,cross_entropy", "--grid", "learning-rate=0.1,0.2,0.3", "--repeats", "2"]


@pytest.fixture
def run(service: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("COSTCURVE_URL", service.url)
    return runner(capsys)


@pytest.fixture
def sweep(run) -> str:
    """The id of a sweep of twelve jobs."""
    return run("sweep", "submit", "--experiment", "neuron", *GRID, "--name", "n", "--tag", "a=b").out.strip()


def test_a_sweep_is_submitted_and_says_what_it_is(run):
    ran = run("sweep", "submit", "--experiment", "neuron", *GRID)

    assert (ran.code, re.fullmatch(r"swp_\w+\n", ran.out) is not None) == (0, True)
    assert ran.err == f"12 jobs; `costcurve sweep watch {ran.out.strip()}` shows their progress\n"


def test_a_sweep_is_shown_with_its_grid_and_how_it_stands(run, sweep):
    rows = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in run("sweep", "show", sweep).out.splitlines())

    assert dict(rows).items() >= {
        ("id", sweep),
        ("jobs", "0 of 12 ended: 12 queued"),
        ("name", "n"),
        ("tags", "a=b"),
        ("experiment", "neuron"),
        ("loss (swept)", "quadratic; cross_entropy"),
        ("learning_rate (swept)", "0.1; 0.2; 0.3"),
        ("cells", "6, each 2 times"),
    }


def test_sweeps_and_the_jobs_of_one_are_listed(run, sweep):
    newest = run("sweep", "list", "--limit", "1")
    assert newest.out.splitlines()[1].startswith(sweep)
    assert "2 loss × 3 learning_rate × 2 repeats" in newest.out
    jobs = json.loads(run("list", "--sweep", sweep, "--json").out)["items"]
    assert {job["sweep_id"] for job in jobs} == {sweep}
    assert f"{sweep}, cell 5, repeat 1" in run("show", jobs[0]["id"]).out


def test_a_sweep_is_cancelled(run, sweep):
    for _ in range(2):
        assert run("sweep", "cancel", sweep).out == f"{sweep} 12 of 12 ended: 12 cancelled\n"
    assert run("sweep", "watch", sweep).code == 1


def test_a_file_may_hold_a_sweep_and_options_override_it(run, tmp_path):
    file = tmp_path / "sweep.json"
    body = {"spec": {"experiment": "neuron"}, "grid": {"epochs": [1, 2], "loss": ["quadratic"]}, "repeats": 3}
    file.write_text(json.dumps(body))
    made = json.loads(run("sweep", "submit", "--spec", str(file), "--grid", "epochs=4,5,6", "--json").out)

    assert (made["grid"], made["repeats"]) == ({"epochs": [4, 5, 6], "loss": ["quadratic"]}, 3)


def test_a_sweep_that_is_not_valid_is_told_field_by_field(run):
    ran = run("sweep", "submit", "--experiment", "neuron", "--grid", "loss=quadratic,hinge", "--grid", "epochs=0,1")
    assert (ran.code, ran.out) == (2, "")
    assert "  /grid/loss/1: " in ran.err
    assert "  /grid/epochs/0: " in ran.err


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry"])
def test_a_sweep_that_does_not_exist_is_not_found(run, command):
    ran = run("sweep", command, "swp_none")
    assert (ran.code, ran.out) == (3, "")
    assert "No such sweep" in ran.err


@pytest.mark.parametrize("arguments", [["show", "{sweep}"], ["cancel", "{sweep}"], ["retry", "{sweep}"], ["list"]])
def test_with_json_every_command_prints_one_document_and_nothing_else(run, sweep, arguments):
    ran = run("sweep", *(argument.format(sweep=sweep) for argument in arguments), "--json")
    assert ran.code == 0
    assert isinstance(json.loads(ran.out), dict)


def test_waiting_shows_how_many_have_ended_and_keeps_the_standard_output_for_the_id(run, at_work):
    ran = run("--url", at_work.url, "sweep", "submit", "--preset", "neuron-good-start", *GRID, "--wait")

    sweep = ran.out.strip()
    assert (ran.code, re.fullmatch(r"swp_\w+", sweep) is not None) == (0, True)
    assert re.match(rf"{sweep}  \d+ of 12 ended: ", ran.err)
    assert ran.err.endswith(f"{sweep} 12 of 12 ended: 12 succeeded\n")


def test_a_sweep_of_which_a_job_fails_makes_waiting_fail(run, at_work):
    one_diverges = ["--experiment", "neuron", "--init", "zeros", "--learning-rate", "1e200", "--grid", "input=1,1e200"]
    ran = run("--url", at_work.url, "sweep", "submit", *one_diverges, "--wait", "--json")

    assert ran.code == 1
    assert json.loads(ran.out)["counts"].items() >= {("succeeded", 1), ("failed", 1)}


def test_the_best_cells_of_a_sweep_are_shown_with_mean_and_spread(run, at_work):
    grid = ["--grid", "loss=quadratic,cross_entropy", "--grid", "epochs=100,300", "--repeats", "2"]
    sweep = run(
        "--url", at_work.url, "sweep", "submit", "--preset", "neuron-slow-quadratic", *grid, "--wait"
    ).out.strip()
    shown = run("--url", at_work.url, "sweep", "show", sweep, "--best", "3")
    header, *rows = [re.split(r"\s{2,}", line.strip()) for line in shown.out.partition("\n\n")[2].splitlines()]

    assert header == ["RANK", "CELL", "LOSS", "EPOCHS", "DONE", "TARGET DISTANCE", "FINAL OUTPUT", "FROM THE BEST"]
    assert [row[:5] for row in rows] == [
        ["1", "3", "cross_entropy", "300", "2/2"],
        ["2", "2", "cross_entropy", "100", "2/2"],
        ["3", "1", "quadratic", "300", "2/2"],
    ]
    assert re.fullmatch(r"0\.\d+ ± 0", rows[2][7])
    assert shown.err == "the best 3 of 4 cells; a larger --best shows more\n"


def test_a_sweep_is_plotted_into_a_file(run, at_work, tmp_path):
    sweep = run("--url", at_work.url, "sweep", "submit", "--preset", "neuron-good-start", *GRID, "--wait").out.strip()
    for file, options in (("a.svg", []), ("deep/b.png", ["--metrics", "output,cost", "--best", "2", "--log"])):
        plotted = run("--url", at_work.url, "sweep", "plot", sweep, str(tmp_path / file), *options)
        assert (plotted.code, plotted.out, plotted.err) == (0, "", f"wrote {tmp_path / file}\n")
    some = run("--url", at_work.url, "sweep", "plot", sweep, str(tmp_path / "c.svg"), "--cells", "0,5", "--json")

    assert json.loads(some.out) == {"file": str(tmp_path / "c.svg")}
    assert "One sigmoid neuron: all 6 cells" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "deep" / "b.png").read_bytes().startswith(b"\x89PNG")
    shown = (tmp_path / "c.svg").read_text()
    assert "One sigmoid neuron: 2 of 6 cells" in shown
    assert "loss cross_entropy, learning_rate 0.3" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.pdf"], "must end in .svg or .png"),
        (["a.svg", "--cells", "first"], "'first' is not a list of numbers"),
        (["a.svg", "--cells", "1", "--best", "2"], "cannot be used with --cells"),
        (["a.svg", "--best", "17"], "should be less than or equal to 16"),
        (["a.svg", "--cells", "99"], "/query/cells: this sweep has no cell 99"),
    ],
)
def test_a_plot_that_cannot_be_is_a_usage_error(run, sweep, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    ran = run("sweep", "plot", sweep, *arguments)
    assert (ran.code, [*tmp_path.iterdir()]) == (2, [])
    assert message in " ".join(ran.err.replace("│", " ").split())


def test_failed_jobs_are_retried_and_say_of_which_job_they_are_a_retry(run, at_work):
    one_diverges = ["--experiment", "neuron", "--init", "zeros", "--learning-rate", "1e200", "--grid", "input=1,1e200"]
    submitted = json.loads(run("--url", at_work.url, "sweep", "submit", *one_diverges, "--wait", "--json").out)
    retried = run("--url", at_work.url, "sweep", "retry", submitted["id"])
    assert (retried.code, retried.out.startswith(f"{submitted['id']} 1 of 2 ended: ")) == (0, True)
    newest, failed, _ = json.loads(run("--url", at_work.url, "list", "--sweep", submitted["id"], "--json").out)["items"]
    assert (failed["error"]["code"], newest["parent_id"], newest["cell"]) == ("diverged", failed["id"], 1)
    assert re.search(rf"retry of +{failed['id']}", run("--url", at_work.url, "show", newest["id"]).out)


def test_ctrl_c_ends_the_watching_and_not_the_sweep(run, sweep, service, tmp_path):
    with started("sweep", "watch", sweep, home=tmp_path, url=service.url, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == f"{sweep}  0 of 12 ended: 12 queued\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert f"`costcurve sweep cancel {sweep}` ends it" in process.stderr.read()
    with Client(service.url) as client:
        assert client.get_sweep(sweep).counts["queued"] == 12


def test_watching_ends_when_the_last_job_has(run, sweep, service, tmp_path):
    with started("sweep", "watch", sweep, home=tmp_path, url=service.url) as process, Client(service.url) as client:
        assert process.stdout.readline() == f"{sweep}  0 of 12 ended: 12 queued\n"
        client.cancel_sweep(sweep)
        until(process.poll, lambda code: code is not None)
        assert process.returncode == 1
        assert process.stdout.read() == f"{sweep} 12 of 12 ended: 12 cancelled\n"


def test_ready_sweeps_are_listed_and_submitted_by_name(run):
    listed = run("sweep", "presets").out.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", *SWEEP_PRESETS]
    assert [preset["repeats"] for preset in json.loads(run("sweep", "presets", "--json").out)["items"]] == [1, 3, 3, 3]

    made = json.loads(run("sweep", "submit", "--preset", "article-mnist", "--epochs", "2", "--json").out)
    assert (made["cells"], made["repeats"], made["spec"]["epochs"]) == (8, 3, 2)
