"""Real workers that hang or are stopped, and supervisors that cannot start one: the job ends on a replacement.

The same on PostgreSQL: tests/chaos/hung_workers.py.
"""

import os
import re
import resource
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.processes import Deployment, until

pytestmark = pytest.mark.slow

NEURON = {"experiment": "neuron", "epochs": 1000}
# Minutes of training: it is stopped by the test, never by its end.
LONG = {"experiment": "mnist", "epochs": 1000}


@pytest.fixture
def deployment(tmp_path, mnist_dir):
    with Deployment(tmp_path, mnist_dir, {"COSTCURVE_LEASE_SECONDS": "2"}) as deployment:
        deployment.start_service()
        yield deployment


def said(deployment: Deployment) -> str:
    return (deployment.home / "workers.log").read_text()


def ready_pids(deployment: Deployment) -> list[int]:
    """The worker processes that ever became ready, the oldest first."""
    return [int(pid) for pid in re.findall(r"ready on \w+ \(pid (\d+)\)", said(deployment))]


@pytest.mark.parametrize(
    ("way", "words"),
    [("interpreter-free", "hangs: it was given up and does not end"), ("interpreter-held", "had no pulse for 5 s")],
)
def test_a_worker_whose_training_hangs_is_replaced_and_its_job_ends(deployment, way, words):
    deployment.environment["HANGS"] = way
    supervisor = deployment.start_workers(program="tests.helpers.hanging")
    job = deployment.ended(deployment.submit(NEURON, engine="autograd"), timeout=90)

    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    hung = int((deployment.home / "pid").read_text())
    until(lambda: Path(f"/proc/{hung}").exists(), lambda exists: not exists, timeout=10)
    assert words in said(deployment)
    assert deployment.stop(supervisor) < 5.5
    assert supervisor.returncode == 0


def test_a_worker_that_not_even_sigkill_ends_is_given_up_and_the_supervisor_does_not_wait_for_it(deployment):
    deployment.environment["HANGS"] = "unkillable"
    supervisor = deployment.start_workers(program="tests.helpers.hanging")
    job = deployment.ended(deployment.submit(NEURON, engine="autograd"), timeout=90)

    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert "was killed and does not end" in said(deployment)
    assert Path(f"/proc/{(deployment.home / 'pid').read_text()}").exists()
    assert deployment.stop(supervisor) < 5.5
    assert supervisor.returncode == 1


def test_a_worker_that_is_stopped_altogether_is_killed_and_replaced(deployment):
    supervisor = deployment.start_workers()
    job_id = deployment.submit(LONG, engine="autograd")
    deployment.running(job_id)
    [pid] = ready_pids(deployment)
    os.kill(pid, signal.SIGSTOP)

    until(lambda: deployment.job(job_id), lambda job: job["attempt"] == 2 and job["status"] == "running")
    assert "no pulse" in said(deployment)
    assert not Path(f"/proc/{pid}").exists()
    deployment.running(job_id)
    assert deployment.stop(supervisor) < 5.5


def test_workers_outlive_a_stop_of_themselves_and_their_supervisor_together(deployment):
    """As by Ctrl-Z, a frozen container, or a machine that sleeps: time does not run for the supervisor either."""
    supervisor = deployment.start_workers()
    job_id = deployment.submit(LONG, engine="autograd")
    deployment.running(job_id)
    deployment.stop(deployment.service)  # which would give the worker up, and rightly so
    os.killpg(supervisor.pid, signal.SIGSTOP)
    threading.Event().wait(8)  # longer than a worker may be without a pulse
    os.killpg(supervisor.pid, signal.SIGCONT)
    deployment.start_service()
    before = deployment.job(job_id)["progress"]["step"]
    job = until(lambda: deployment.job(job_id), lambda job: job["progress"]["step"] > before + 2000)

    assert (job["status"], job["attempt"]) == ("running", 1)
    assert "no pulse" not in said(deployment)


@contextmanager
def no_descriptors_left(pid: int):
    """The process may open no file more than it has open."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_a_supervisor_that_cannot_start_a_worker_tries_again_and_looks_after_the_others(deployment):
    supervisor = deployment.start_workers(processes=2)
    failures = r"no worker can be started on cpu \(.*[Tt]oo many open files"
    first, second = until(lambda: ready_pids(deployment), lambda pids: len(pids) == 2)
    with no_descriptors_left(supervisor.pid):
        os.kill(first, signal.SIGKILL)
        until(lambda: re.findall(failures, said(deployment)), lambda found: len(found) >= 2, timeout=20)
        descriptors = len(list(Path(f"/proc/{supervisor.pid}/fd").iterdir()))
        until(lambda: re.findall(failures, said(deployment)), lambda found: len(found) >= 3, timeout=20)
        assert len(list(Path(f"/proc/{supervisor.pid}/fd").iterdir())) <= descriptors
        # The other seat is still looked after.
        os.kill(second, signal.SIGKILL)
        until(lambda: said(deployment), lambda text: f"(pid {second}) died, SIGKILL" in text, timeout=10)
    third, _ = until(lambda: ready_pids(deployment)[2:], lambda pids: len(pids) == 2)
    assert deployment.ended(deployment.submit(NEURON))["status"] == "succeeded"

    with no_descriptors_left(supervisor.pid):
        before = len(re.findall(failures, said(deployment)))
        os.kill(third, signal.SIGKILL)
        until(lambda: re.findall(failures, said(deployment)), lambda found: len(found) > before, timeout=20)
        assert deployment.stop(supervisor) < 5.5
    assert supervisor.returncode == 0


def test_a_fleet_that_cannot_start_its_driver_tries_again_and_ends_when_told_to(deployment):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"127.0.0.1:{listener.getsockname()[1]}"
    fleet = deployment.start_fleet(nowhere)
    until(lambda: said(deployment), lambda text: "the fleet's driver ended, exit code 1" in text)
    with no_descriptors_left(fleet.pid):
        until(lambda: said(deployment), lambda text: "the fleet's driver cannot be started" in text, timeout=30)
    failed = said(deployment)
    until(lambda: said(deployment)[len(failed) :], lambda text: "the fleet's driver ended" in text, timeout=60)
    with no_descriptors_left(fleet.pid):
        until(lambda: said(deployment)[len(failed) :], lambda text: "cannot be started" in text, timeout=60)
        deployment.stop(fleet)
    assert fleet.returncode == 0
