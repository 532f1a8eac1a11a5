"""Metrics of a real service and real workers: scraped by a client, and by a real Prometheus."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from published import DOCUMENTED, PROMETHEUS, queries

from tests.helpers import plain_http
from tests.helpers.processes import Deployment, free_port, until

NETWORK = {"experiment": "mnist", "layers": [784, 10], "epochs": 2, "steps_per_epoch": 200}
NEURON = {"experiment": "neuron"}


@dataclass
class Watched:
    """A service and workers that tell their metrics."""

    deployment: Deployment
    workers: subprocess.Popen
    targets: dict[str, str]

    def scrape(self, target: str) -> dict[tuple[str, frozenset], float]:
        text = plain_http.get(f"http://{self.targets[target]}/metrics", timeout=120).raise_for_status().text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parsed(text)
            for sample in family.samples
        }

    def total(self, target: str, name: str, **labels: str) -> float:
        scraped = self.scrape(target).items()
        return sum(value for (each, its), value in scraped if each == name and labels.items() <= dict(its).items())

    def train(self) -> None:
        """Every outcome that a client can bring about at once, on both experiments."""
        trained = [self.deployment.submit(spec) for spec in (NEURON, NEURON, NETWORK)]
        trained.append(self.deployment.submit({**NETWORK, "epochs": 1000}, max_runtime_seconds=0.3, engine="autograd"))
        for job in trained:
            self.deployment.ended(job)
        assert plain_http.get(f"{self.deployment.url}/nowhere").status_code == 404


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path | None) -> Iterator[Watched]:
    home = tmp_path_factory.mktemp("home")
    with Deployment(home, mnist_dir) as deployment:
        deployment.start_service()
        deployment.environment["COSTCURVE_METRICS_PORT"] = "0"
        workers = deployment.start_workers(2)
        served = re.compile(r"metrics are served at http://(\S+)/metrics")
        log = home / "workers.log"
        text = until(log.read_text, lambda text: served.search(text) and text.count("is ready on") == 2, timeout=120)
        targets = {
            "costcurve-service": deployment.url.removeprefix("http://"),
            "costcurve-worker": served.search(text)[1],
        }
        watched = Watched(deployment, workers, targets)
        watched.train()
        yield watched


def test_every_exposed_metric_is_documented_and_every_documented_one_is_exposed(watched):
    exposed = {}
    for target in watched.targets.values():
        for family in parsed(plain_http.get(f"http://{target}/metrics").text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = frozenset(label for sample in family.samples for label in sample.labels)
            exposed[name] = (family.type, labels - {"le"})

    assert exposed == DOCUMENTED


def test_what_workers_did_is_counted(watched):
    worker = "costcurve-worker"

    assert watched.total(worker, "costcurve_claims_total") >= 4
    assert watched.total(worker, "costcurve_jobs_total", experiment="neuron", outcome="succeeded") >= 2
    assert watched.total(worker, "costcurve_jobs_total", experiment="mnist", outcome="failed") >= 1
    assert watched.total(worker, "costcurve_steps_total", experiment="neuron") == 300 * watched.total(
        worker, "costcurve_jobs_total", experiment="neuron", outcome="succeeded"
    )
    assert watched.total(worker, "costcurve_steps_total", experiment="mnist") >= 400
    assert watched.total(worker, "costcurve_queue_wait_seconds_count") == watched.total(
        worker, "costcurve_claims_total"
    )


def test_requests_are_told_by_the_template_of_their_route(watched):
    count = "costcurve_http_request_duration_seconds_count"
    routes = {dict(labels)["route"] for (name, labels) in watched.scrape("costcurve-service") if name == count}

    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/readyz", "unmatched"} <= routes
    assert not any("job_" in route.replace("{job_id}", "") for route in routes)
    assert watched.total("costcurve-service", count, route="unmatched", status="4xx") >= 1


def test_openmetrics_is_spoken_where_it_is_asked_for(watched):
    for target in watched.targets.values():
        answer = plain_http.get(
            f"http://{target}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )

        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert list(parsed_openmetrics(answer.text))


def test_no_counter_goes_back_when_a_worker_dies(watched):
    worker = "costcurve-worker"
    before = {key: value for key, value in watched.scrape(worker).items() if not key[0].endswith("_created")}
    log = (watched.deployment.home / "workers.log").read_text
    ready = log().count("is ready on")
    os.kill(int(re.findall(r"\(pid (\d+)\)", log())[0]), signal.SIGKILL)
    until(log, lambda text: text.count("is ready on") == ready + 1, timeout=120)
    after = watched.scrape(worker)
    watched.train()

    assert [key for key, value in before.items() if after[key] < value] == []
    assert watched.total(worker, "costcurve_worker_deaths_total") == 1
    assert watched.total(worker, "costcurve_claims_total") == before[("costcurve_claims_total", frozenset())] + 4


def test_of_a_store_that_does_not_answer_only_that_is_told(tmp_path):
    with Deployment(tmp_path) as deployment:
        deployment.start_service()
        watched = Watched(deployment, deployment.service, {"service": deployment.url.removeprefix("http://")})
        assert watched.total("service", "costcurve_store_up") == 1
        (tmp_path / "costcurve.db").rename(tmp_path / "away.db")
        until(lambda: watched.total("service", "costcurve_store_up"), lambda up: up == 0)
        names = {name for name, _ in watched.scrape("service")}
        (tmp_path / "away.db").rename(tmp_path / "costcurve.db")

        assert names & {"costcurve_jobs", "costcurve_queue_depth", "costcurve_workers"} == set()
        assert "costcurve_build_info" in names
        until(lambda: watched.total("service", "costcurve_store_up"), lambda up: up == 1)
        assert "costcurve_jobs" in {name for name, _ in watched.scrape("service")}


@pytest.fixture(scope="module")
def prometheus(watched, prometheus_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes them every second, with our alerts."""
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(PROMETHEUS / "alerts.yml")],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in watched.targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    command = [prometheus_tools / "prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}", "--log.level=warn"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=120) as client:
            until(lambda: _ready(client), lambda ready: ready)
            yield client
    finally:
        server.terminate()
        server.wait(120)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def _asked(prometheus: httpx.Client, query: str) -> list[dict]:
    answer = prometheus.get("/api/v1/query", params={"query": query})
    assert answer.status_code == 200, f"{query}: {answer.text}"
    return answer.json()["data"]["result"]


def test_a_real_prometheus_answers_every_query_of_the_dashboard_and_the_alerts(watched, prometheus):
    claims = "sum(costcurve_claims_total)"
    until(lambda: _asked(prometheus, claims), lambda found: found)
    watched.train()  # what is counted now is an increase
    claimed = watched.total("costcurve-worker", "costcurve_claims_total")
    until(lambda: _asked(prometheus, claims), lambda found: float(found[0]["value"][1]) == claimed)
    alerts = {"QueueOld", "NoLiveWorker", "HeartbeatOld", "JobsFailing", "WorkersDying", "StoreDown", "ServiceDown"}
    alerts |= {"HttpErrors", "HttpSlow"}
    busy = {"Store", "Workers alive", "Steps per second", "Requests per second"}

    def lacking() -> list[tuple[str, str]]:
        """The queries that lack an answer, or one that is not 0. A rate has none before it was scraped twice."""
        answers = {(where, query): _asked(prometheus, query) for where, query in queries()}
        seen = {where for (where, _), found in answers.items() for each in found if float(each["value"][1]) > 0}
        return [key for key, found in answers.items() if key[0] not in alerts and not found] + [
            (where, "> 0") for where in busy - seen
        ]

    until(lacking, lambda left: not left, every=0.2)
    rules = prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["name"] for rule in rules} == alerts
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
