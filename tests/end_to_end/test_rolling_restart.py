"""Everything restarted in turn, while a client goes on: nothing is lost, and nobody sees an error that matters."""

import signal
from contextlib import ExitStack
from threading import Event, Thread
from uuid import uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until

pytestmark = [pytest.mark.slow, pytest.mark.long]

NETWORK = {"experiment": "mnist", "loss": "cross_entropy", "epochs": 2, "steps_per_epoch": 400}
NEURON = {"experiment": "neuron"}
# Submissions that are waited for: before, after the first restart, and after the second.
EACH = 10


class Visitor(Thread):
    """Submits and looks on until told to stop, through whichever service is ready, as behind a load balancer.

    Any other answer than the right one is remembered as broken.
    """

    def __init__(self, urls: list[str]) -> None:
        super().__init__()
        self.accepted: list[str] = []
        self.broken: list[str] = []
        self.served_by: set[str] = set()
        # Services that were not ready when they were asked last.
        self.avoids: set[str] = set()
        self._urls = urls
        self._over = Event()

    def run(self) -> None:
        number = 0
        while not self._over.wait(0.05):
            number += 1
            body = {"spec": (NETWORK if number % 8 == 1 else NEURON) | {"seed": number}}
            answer = self._ask("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": uuid4().hex})
            if answer is None or answer.status_code != 201:
                self.broken.append(f"submission {number}: {answer and answer.text}")
                continue
            self.accepted.append(answer.json()["id"])
            for job_id in self.accepted[-3:]:
                seen = self._ask("GET", f"/v1/jobs/{job_id}")
                if seen is None or seen.status_code != 200 or seen.json()["id"] != job_id:
                    self.broken.append(f"look at {job_id}: {seen and seen.text}")

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _ask(self, method: str, path: str, **request: object) -> httpx.Response | None:
        self._urls.reverse()  # they take turns
        for url in [*self._urls, *self._urls]:
            try:
                is_ready = plain_http.get(f"{url}/readyz").status_code == 200
            except httpx.TransportError:
                is_ready = False  # it stops to listen just now
            if not is_ready:
                self.avoids.add(url)
                continue
            self.avoids.discard(url)
            try:
                answer = plain_http.request(method, url + path, **request)
            except httpx.TransportError as error:
                self.broken.append(f"{method} {path} by {url}: {error!r}")
                continue
            self.served_by.add(url)
            return answer
        return None


def test_services_and_workers_restarted_in_turn_lose_nothing_and_break_nothing(tmp_path, mnist_dir, postgresql_url):
    shared = {
        "COSTCURVE_DATABASE_URL": postgresql_url,
        "COSTCURVE_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
        # It goes on serving until the visitor has seen that it is not ready, however long that takes.
        "COSTCURVE_DRAIN_SECONDS": "300",
    }
    with ExitStack() as ended:
        pair = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            deployment = ended.enter_context(Deployment(tmp_path / name, mnist_dir, shared))
            deployment.start_service()
            pair.append((deployment, deployment.start_workers()))
        visitor = Visitor([deployment.url for deployment, _ in pair])
        visitor.start()
        ended.callback(visitor.stop)
        # Both supervisors' workers are at work before anything is restarted.
        until(lambda: workers_alive(pair[0][0]), lambda count: count == 2)
        until(lambda: len(visitor.accepted), lambda count: count >= EACH)

        old_workers = []
        for deployment, workers in pair:
            seen = len(visitor.accepted)
            deployment.service.send_signal(signal.SIGTERM)
            until(lambda url=deployment.url: url in visitor.avoids, bool)
            deployment.stop(deployment.service)  # a second time: now
            deployment.start_service()
            deployment.start_workers()  # the next is there before the one before it has ended
            until(lambda: workers_alive(pair[0][0]), lambda count: count == 3)
            workers.send_signal(signal.SIGTERM)
            workers.wait(120)
            old_workers.append(workers)
            until(lambda: workers_alive(pair[0][0]), lambda count: count == 2)
            until(lambda seen=seen: len(visitor.accepted) - seen, lambda count: count >= EACH)
        visitor.stop()

        assert visitor.broken == []
        assert visitor.served_by == {deployment.url for deployment, _ in pair}
        assert [workers.returncode for workers in old_workers] == [0, 0]
        jobs = [pair[0][0].ended(job_id) for job_id in visitor.accepted]
        assert {job["status"] for job in jobs} == {"succeeded"}
        assert len(set(visitor.accepted)) == len(jobs) >= 3 * EACH
    with psycopg.connect(make_url(postgresql_url).render_as_string(hide_password=False)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (len(jobs),)
        assert connection.execute("SELECT count(*) FROM jobs WHERE crashes > 0").fetchone() == (0,)
        outcomes = {outcome for (outcome,) in connection.execute("SELECT DISTINCT outcome FROM attempts")}
        assert not {outcome for outcome in outcomes if "died" in outcome or "lease" in outcome}, outcomes


def workers_alive(deployment: Deployment) -> int:
    return len(plain_http.get(f"{deployment.url}/v1/workers").raise_for_status().json()["items"])


def test_a_service_that_was_told_to_stop_is_not_ready_but_answers_for_a_while(tmp_path):
    with Deployment(tmp_path, environment={"COSTCURVE_DRAIN_SECONDS": "300"}) as deployment:
        deployment.start_service()
        deployment.service.send_signal(signal.SIGTERM)

        def ready() -> httpx.Response:
            return plain_http.get(f"{deployment.url}/readyz")

        refused = until(ready, lambda answer: answer.status_code == 503)
        assert refused.json()["code"] == "draining"
        assert plain_http.get(f"{deployment.url}/healthz").status_code == 200
        job_id = deployment.submit(NEURON)
        assert deployment.job(job_id)["status"] == "queued"

        deployment.stop(deployment.service)  # a second time: now
        with pytest.raises(httpx.ConnectError):
            ready()


def test_after_its_time_of_draining_a_service_stops_by_itself(tmp_path):
    with Deployment(tmp_path, environment={"COSTCURVE_DRAIN_SECONDS": "0.5"}) as deployment:
        deployment.start_service()
        took = deployment.stop(deployment.service)

        assert took >= 0.5
        assert deployment.service.returncode == 0


def test_ctrl_c_ends_a_service_at_once_whatever_it_should_do_on_sigterm(tmp_path):
    with Deployment(tmp_path, environment={"COSTCURVE_DRAIN_SECONDS": "300"}) as deployment:
        deployment.start_service()
        deployment.service.send_signal(signal.SIGINT)

        assert deployment.service.wait(120) == 0
