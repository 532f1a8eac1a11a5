"""Real processes, through what happens to them: late workers, restarts, signals, crashes, and two of everything."""

import os
import re
import shutil
import signal
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until
from workers.engines import fused_cpu

pytestmark = pytest.mark.slow

MNIST = {"experiment": "mnist", "loss": "cross_entropy"}
# By name, and not the fastest: trainings must last long enough for something to happen to them.
ENGINE = "autograd"
# An epoch then takes half a second or more.
STEPS = 1500
# Minutes of training: it is stopped by the test, never by its end.
LONG = {**MNIST, "epochs": 1000}
# Seconds, on a machine that has other work too. Waiting for SQLite alone takes 20. `make chaos` measures what a free
# machine must keep: 5 s for a stop, 1 s for a cancel.
SOON = 15


# Trained with and without interruptions.
INTERRUPTED = {**MNIST, "epochs": 6, "steps_per_epoch": STEPS}


@pytest.fixture
def deployment(tmp_path, mnist_dir):
    with Deployment(tmp_path, mnist_dir) as deployment:
        deployment.start_service()
        yield deployment


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory, mnist_dir) -> tuple[dict, dict]:
    """The job INTERRUPTED without interruptions, and its curve."""
    with Deployment(tmp_path_factory.mktemp("alone"), mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers()
        job = deployment.ended(deployment.submit(INTERRUPTED, engine=ENGINE))
        return job, deployment.curve(job["id"])


def worker_pids(deployment: Deployment) -> list[int]:
    """The worker processes that have said that they are ready, as far as they still live."""
    pids = re.findall(r"ready on \w+ \(pid (\d+)\)", (deployment.home / "workers.log").read_text())
    return [int(pid) for pid in pids if Path(f"/proc/{pid}").exists()]


def checkpoints(deployment: Deployment) -> list[Path]:
    return list((deployment.home / "checkpoints").rglob("*.safetensors"))


def test_a_job_submitted_before_the_worker_starts_is_trained_when_it_does(deployment):
    job_id = deployment.submit({**MNIST, "epochs": 1, "steps_per_epoch": 200})
    assert deployment.job(job_id)["status"] == "queued"
    deployment.start_workers()

    job = deployment.ended(job_id)
    assert job["status"] == "succeeded"
    assert (job["engine"], job["device"]) == ("fused_cpu" if fused_cpu.why_missing() is None else "autograd", "cpu")
    assert job["exec_profile"]["engine"] == job["engine"]
    assert (job["exec_profile"]["device"], job["exec_profile"]["threads"]) == ("cpu", 1)
    assert job["result"]["test_size"] == 10_000


def test_the_whole_program_runs_on_postgresql(tmp_path, mnist_dir, postgresql_url):
    with Deployment(tmp_path, mnist_dir, {"COSTCURVE_DATABASE_URL": postgresql_url}) as deployment:
        deployment.start_service()
        deployment.start_workers(processes=2)
        network = deployment.submit({**MNIST, "epochs": 4, "steps_per_epoch": STEPS}, engine=ENGINE)
        neurons = [deployment.submit({"experiment": "neuron", "seed": seed, "init": "normal"}) for seed in range(10)]
        deployment.running(network)
        os.kill(worker_pids(deployment)[0], signal.SIGKILL)

        assert {deployment.ended(job_id)["status"] for job_id in (network, *neurons)} == {"succeeded"}
        assert deployment.curve(network)["x"] == [0, 1, 2, 3]
        assert all(len(deployment.curve(job_id)["x"]) == 301 for job_id in neurons)
        assert not (tmp_path / "costcurve.db").exists()


def test_restarting_the_service_neither_loses_nor_stops_a_training(deployment):
    deployment.start_workers()
    job_id = deployment.submit({**MNIST, "epochs": 8, "steps_per_epoch": STEPS}, engine=ENGINE)
    before = deployment.running(job_id)
    deployment.stop(deployment.service)
    with pytest.raises(httpx.ConnectError):
        deployment.job(job_id)
    deployment.start_service()

    until(lambda: deployment.job(job_id)["progress"]["step"], lambda step: step > before["progress"]["step"])
    job = deployment.ended(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert deployment.curve(job_id)["x"] == [*range(8)]


def test_two_deployments_with_two_homes_know_nothing_of_each_other(deployment, tmp_path, mnist_dir):
    (tmp_path / "other").mkdir()
    with Deployment(tmp_path / "other", mnist_dir) as other:
        other.start_service()
        deployment.start_workers()
        other.start_workers()
        here = deployment.submit({"experiment": "neuron", "loss": "quadratic"})
        there = other.submit({"experiment": "neuron", "loss": "cross_entropy"})

        assert deployment.url != other.url
        assert deployment.ended(here)["result"]["final_output"] != other.ended(there)["result"]["final_output"]
        for one, foreign in ((deployment, there), (other, here)):
            assert plain_http.get(f"{one.url}/v1/jobs/{foreign}").status_code == 404


def test_sigterm_stops_the_workers_within_seconds_and_hands_the_job_back(deployment):
    workers = deployment.start_workers(processes=2)
    first, second = deployment.submit(LONG, engine=ENGINE), deployment.submit({**LONG, "seed": 1}, engine=ENGINE)
    deployment.running(first)
    deployment.running(second)

    assert deployment.stop(workers) < SOON
    assert workers.returncode == 0
    for job_id in (first, second):
        job = deployment.job(job_id)
        assert (job["status"], job["attempt"]) == ("queued", 1)
        assert "its worker was stopped" in job["status_reason"]
    assert worker_pids(deployment) == []

    deployment.start_workers()
    deployment.running(first)


def events(deployment: Deployment, job_id: str) -> list[dict]:
    return plain_http.get(f"{deployment.url}/v1/jobs/{job_id}/events").raise_for_status().json()["items"]


def resumed_from(deployment: Deployment, job_id: str) -> list[int]:
    """The steps from which the attempts of a job went on."""
    reasons = [event["why"] for event in events(deployment, job_id) if event["to_status"] == "running"]
    return [int(found[1]) for why in reasons if (found := re.search(r"from step (\d+)$", why))]


@pytest.mark.parametrize("trouble", ["handed back", "killed", "paused"])
def test_a_job_that_was_interrupted_goes_on_and_ends_with_the_bits_of_one_left_alone(deployment, left_alone, trouble):
    workers = deployment.start_workers()
    disturbed = deployment.submit(INTERRUPTED, engine=ENGINE)
    until(lambda: deployment.job(disturbed), lambda job: job["progress"]["epoch"] >= 2)
    until(lambda: checkpoints(deployment), bool)
    if trouble == "handed back":
        deployment.stop(workers)
        deployment.start_workers()
    elif trouble == "killed":
        os.kill(worker_pids(deployment)[0], signal.SIGKILL)
    else:
        plain_http.post(f"{deployment.url}/v1/jobs/{disturbed}/pause").raise_for_status()
        until(lambda: deployment.job(disturbed), lambda job: job["status"] == "paused")
        plain_http.post(f"{deployment.url}/v1/jobs/{disturbed}/resume").raise_for_status()

    alone, curve = left_alone
    job = deployment.ended(disturbed)
    assert job["status"] == alone["status"] == "succeeded"
    assert job["spec_hash"] == alone["spec_hash"]
    assert job["result"]["weights_sha256"] == alone["result"]["weights_sha256"]
    assert deployment.curve(disturbed)["series"] == curve["series"]
    [step] = resumed_from(deployment, disturbed)
    assert step > 0
    assert list((deployment.home / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    "at_epoch",
    [pytest.param(1, id="after the change"), pytest.param(7, id="before the change", marks=pytest.mark.long)],
)
def test_a_fork_that_was_killed_ends_with_the_bits_of_one_left_alone_and_begins_with_those_of_its_parent(
    deployment, at_epoch
):
    deployment.start_workers()
    jobs = httpx.Client(base_url=f"{deployment.url}/v1/jobs")
    parent = deployment.submit({**MNIST, "loss": "quadratic", "epochs": 8, "steps_per_epoch": STEPS}, engine=ENGINE)
    body = {"at_epoch": at_epoch, "spec": {"loss": "cross_entropy"}}
    fork, alone = (jobs.post(f"/{parent}/fork", json=body).raise_for_status().json()["id"] for _ in range(2))
    assert deployment.ended(parent)["status"] == "succeeded"
    until(lambda: deployment.job(fork), lambda job: job["progress"]["epoch"] >= 3)
    until(lambda: checkpoints(deployment), bool)
    os.kill(worker_pids(deployment)[0], signal.SIGKILL)

    results = [deployment.ended(job_id)["result"] for job_id in (fork, alone)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    [step] = resumed_from(deployment, fork)
    assert (step > STEPS * at_epoch) == (at_epoch == 1)
    curves = [deployment.curve(job_id)["series"] for job_id in (fork, alone, parent)]
    assert curves[0] == curves[1]
    for metric, values in curves[0].items():
        assert values[:at_epoch] == curves[2][metric][:at_epoch]
    assert curves[0]["test_cost"][at_epoch] != curves[2]["test_cost"][at_epoch]
    jobs.close()


def test_a_job_whose_checkpoint_is_gone_begins_anew_and_says_so(deployment):
    workers = deployment.start_workers()
    job_id = deployment.submit({**MNIST, "epochs": 3, "steps_per_epoch": STEPS}, engine=ENGINE)
    until(lambda: deployment.job(job_id), lambda job: job["progress"]["epoch"] >= 1)
    deployment.stop(workers)
    shutil.rmtree(deployment.home / "checkpoints")
    deployment.start_workers()

    assert deployment.ended(job_id)["status"] == "succeeded"
    assert deployment.curve(job_id)["x"] == [0, 1, 2]
    assert any(event["why"].startswith("restarted from step 0: its checkpoint") for event in events(deployment, job_id))


def test_what_happened_to_a_job_is_told_with_who_and_why(deployment):
    workers = deployment.start_workers()
    job_id = deployment.submit(LONG, engine=ENGINE)
    deployment.running(job_id)
    deployment.stop(workers)
    plain_http.post(f"{deployment.url}/v1/jobs/{job_id}/cancel").raise_for_status()

    seen = events(deployment, job_id)
    assert [(event["from_status"], event["to_status"]) for event in seen] == [
        (None, "queued"),
        ("queued", "running"),
        ("running", "queued"),
        ("queued", "cancelled"),
    ]
    assert [event["by"] for event in seen] == ["client", seen[1]["by"], seen[1]["by"], "client"]
    assert seen[1]["by"].startswith("wrk_")
    assert "its worker was stopped" in seen[2]["why"]


def test_a_killed_worker_is_replaced_and_its_job_trained_again(deployment):
    deployment.start_workers()
    job_id = deployment.submit({**MNIST, "epochs": 4, "steps_per_epoch": STEPS}, engine=ENGINE)
    deployment.running(job_id)
    [pid] = worker_pids(deployment)
    os.kill(pid, signal.SIGKILL)

    job = deployment.ended(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert deployment.curve(job_id)["x"] == [0, 1, 2, 3]


def test_workers_whose_supervisor_is_killed_hand_their_job_back_and_go(deployment):
    workers = deployment.start_workers()
    job_id = deployment.submit(LONG, engine=ENGINE)
    deployment.running(job_id)
    workers.kill()

    job = until(lambda: deployment.job(job_id), lambda job: job["status"] == "queued")
    assert job["attempt"] == 1
    until(lambda: worker_pids(deployment), lambda pids: not pids)


def test_closing_the_terminal_hands_the_job_back(deployment):
    workers = deployment.start_workers()
    job_id = deployment.submit(LONG, engine=ENGINE)
    deployment.running(job_id)
    os.killpg(workers.pid, signal.SIGHUP)

    assert workers.wait(120) == 0
    assert deployment.job(job_id)["status"] == "queued"


@contextmanager
def locked(deployment):
    """The database, held by somebody else."""
    with closing(sqlite3.connect(deployment.home / "costcurve.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        yield
        foreign.execute("ROLLBACK")


def test_a_worker_that_dies_while_the_database_is_locked_loses_no_job(deployment):
    workers = deployment.start_workers()
    job_id = deployment.submit({**MNIST, "epochs": 4, "steps_per_epoch": STEPS}, engine=ENGINE)
    deployment.running(job_id)
    [pid] = worker_pids(deployment)
    with locked(deployment):
        os.kill(pid, signal.SIGKILL)
        log = deployment.home / "workers.log"
        until(log.read_text, lambda text: "are not requeued yet" in text)

    assert deployment.ended(job_id)["status"] == "succeeded"
    assert workers.poll() is None


def test_a_database_that_is_locked_for_longer_than_a_lease_costs_no_worker_its_job(tmp_path, mnist_dir):
    with Deployment(tmp_path, mnist_dir, {"COSTCURVE_LEASE_SECONDS": "4"}) as deployment:
        deployment.start_service()
        deployment.start_workers()
        job_id = deployment.submit(LONG, engine=ENGINE)
        deployment.running(job_id)
        with locked(deployment):
            threading.Event().wait(10)
        before = deployment.job(job_id)["progress"]["step"]
        job = until(lambda: deployment.job(job_id), lambda job: job["progress"]["step"] > before + 5000)

        assert (job["status"], job["attempt"]) == ("running", 1)
        assert len(events(deployment, job_id)) == 2


def test_sigterm_ends_in_seconds_even_if_the_database_is_locked_and_says_that_something_is_left(deployment):
    workers = deployment.start_workers()
    deployment.running(deployment.submit(LONG, engine=ENGINE))
    with locked(deployment):
        assert deployment.stop(workers) < SOON
        assert workers.returncode == 1


def test_without_any_source_of_mnist_the_job_says_what_was_tried_and_the_worker_goes_on(tmp_path):
    nowhere = "http://127.0.0.1:9"
    environment = {
        "COSTCURVE_DATA_DIR": "",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HTTPS_PROXY": nowhere,
        "PIP_PROXY": nowhere,
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }
    with Deployment(tmp_path, environment=environment) as deployment:
        deployment.start_service()
        deployment.start_workers()
        job = deployment.ended(deployment.submit({**MNIST, "epochs": 1}))
        neuron = deployment.ended(deployment.submit({"experiment": "neuron"}))

    assert (job["status"], job["error"]["code"]) == ("failed", "dataset_unavailable")
    for source in ("data folder", "cache", "mirror", "package index"):
        assert source in job["error"]["message"]
    assert neuron["status"] == "succeeded"


def test_a_setting_that_makes_no_sense_is_named(tmp_path):
    with Deployment(tmp_path, environment={"COSTCURVE_DATABASE_URL": "mysql://nowhere/db"}) as deployment:
        workers = deployment.start_workers()
        assert workers.wait(120) == 1
    assert "COSTCURVE_DATABASE_URL: mysql is not supported" in (tmp_path / "workers.log").read_text()


def test_a_service_that_asks_for_no_key_listens_openly_only_if_told_to(tmp_path):
    def start(**environment: str):
        deployment.environment = environment
        return deployment._start(["service", "--host", "0.0.0.0", "--port", "0"])

    with Deployment(tmp_path) as deployment:
        assert start().wait(120) == 1
        log = deployment.home / "service.log"
        assert "every client that reaches 0.0.0.0 could use this service" in log.read_text()
        start(COSTCURVE_AUTH="off")
        until(log.read_text, lambda text: "Application startup complete" in text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_that_is_told_to_stop_does_so_without_a_traceback(deployment, number):
    deployment.service.send_signal(number)
    deployment.service.wait(120)

    log = (deployment.home / "service.log").read_text()
    assert "Finished server process" in log
    assert "Traceback" not in log
