"""Trainings that come to one end or another, on a service and a worker that they leave as they were."""

import json
from time import monotonic

import pytest

from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until

pytestmark = pytest.mark.slow

MNIST = {"experiment": "mnist", "loss": "cross_entropy"}
# By name, and not the fastest: trainings must last long enough for something to happen to them.
ENGINE = "autograd"
# Minutes of training: it is stopped by the test, never by its end.
LONG = {**MNIST, "epochs": 1000}
# Seconds, on a machine that has other work too. `make chaos` measures what a free machine must keep: 1 s for a cancel.
SOON = 15


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, mnist_dir):
    with Deployment(tmp_path_factory.mktemp("home"), mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers()
        yield deployment


def test_progress_moves_at_least_twice_a_second_and_tells_the_time_to_go(deployment):
    job_id = deployment.submit(LONG, engine=ENGINE)
    deployment.running(job_id)

    def seconds_per_change() -> float:
        """On average, of five changes in a row."""
        step, changes = deployment.job(job_id)["progress"]["step"], []
        while len(changes) < 6:
            progress = until(
                lambda: deployment.job(job_id)["progress"], lambda progress, seen=step: progress["step"] != seen
            )
            step = progress["step"]
            changes.append(monotonic())
            assert progress["eta_seconds"] > 1
            assert 0 < progress["fraction"] < 1
        return (changes[-1] - changes[0]) / (len(changes) - 1)

    # Sooner or later: other programs share the processors.
    until(seconds_per_change, lambda seconds: seconds <= 0.5)
    plain_http.post(f"{deployment.url}/v1/jobs/{job_id}/cancel").raise_for_status()
    deployment.ended(job_id)


def test_a_running_job_is_cancelled_long_before_its_end_and_keeps_its_curve(deployment):
    job_id = deployment.submit({**LONG, "steps_per_epoch": 500}, engine=ENGINE)
    until(lambda: deployment.job(job_id), lambda job: job["progress"]["epoch"] >= 2)
    assert plain_http.post(f"{deployment.url}/v1/jobs/{job_id}/cancel").status_code == 202

    job = deployment.ended(job_id, timeout=SOON)
    assert job["status"] == "cancelled"
    curve = deployment.curve(job_id)
    assert len(curve["x"]) >= 2
    transcript = plain_http.get(f"{deployment.url}/v1/jobs/{job_id}/transcript").text.splitlines()
    assert transcript[-1] == f"best: {max(curve['series']['correct']):.0f} / 10000"
    again = plain_http.post(f"{deployment.url}/v1/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()["status"]) == (202, "cancelled")


def test_a_job_that_diverges_fails_with_its_curve_kept(deployment):
    # One step makes the weights large, the next makes them overflow float32.
    growing = {**MNIST, "init": "zeros", "learning_rate": 1e30, "reduction": "sum_outputs", "steps_per_epoch": 1}
    job = deployment.ended(deployment.submit(growing))

    assert (job["status"], job["error"]["code"]) == ("failed", "diverged")
    assert "no longer finite" in job["error"]["message"]
    curve = deployment.curve(job["id"])
    assert 0 < len(curve["x"]) == job["progress"]["epoch"] < 30
    assert plain_http.get(f"{deployment.url}/v1/jobs/{job['id']}/curve.csv").text.count("\r\n") == len(curve["x"]) + 1
    conflict = plain_http.post(f"{deployment.url}/v1/jobs/{job['id']}/cancel")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "invalid_transition")
    assert "failed" in conflict.json()["detail"]
    assert "cancelled" in conflict.json()["detail"]


def test_a_job_over_its_time_fails_as_timed_out(deployment):
    job = deployment.ended(deployment.submit(LONG, engine=ENGINE, max_runtime_seconds=1))

    assert (job["status"], job["error"]["code"]) == ("failed", "timed_out")


def test_the_data_set_is_loaded_once_and_stays_warm(deployment):
    for seed in range(3):
        deployment.ended(deployment.submit({**MNIST, "epochs": 1, "steps_per_epoch": 10, "seed": seed}))

    assert (deployment.home / "workers.log").read_text().count("MNIST is served by") == 1


def test_a_curve_grows_while_it_is_read_and_next_from_leads_on(deployment):
    job_id = deployment.submit({**MNIST, "epochs": 40, "steps_per_epoch": 50}, engine=ENGINE)
    pieces: list[float] = []
    start = 0
    while True:
        ended = deployment.job(job_id)["is_terminal"]
        page = plain_http.get(
            f"{deployment.url}/v1/jobs/{job_id}/curve", params={"from": start, "metrics": "cost"}
        ).json()
        pieces += page["series"]["cost"]
        start = page["next_from"]
        if ended:
            break

    assert pieces == deployment.curve(job_id)["series"]["cost"]
    assert len(pieces) == 40
    assert json.dumps(pieces)
