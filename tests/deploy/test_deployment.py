"""CostCurve as it is deployed, through what happens to it: killed, restarted, scaled, taken down and put up again."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from costcurve import Client
from costcurve.client.types import Job
from tests.deploy.engine import Compose, docker, inspect, make_secrets
from tests.helpers.processes import until

JOBS = 20
# About a second of training with the reference engine, or several.
SPEC = {"experiment": "mnist", "loss": "cross_entropy", "epochs": 2, "steps_per_epoch": 2500}
# Still in training when its worker is killed, on a fast machine, too: killing takes two or three seconds.
LONG = SPEC | {"epochs": 40}
ENGINE = "autograd"


KEY_FILE = "/var/lib/costcurve/keys/admin"


def address(compose: Compose) -> str:
    return f"http://127.0.0.1:{compose.settings['COSTCURVE_PORT']}"


def first_key(compose: Compose) -> str:
    return compose("exec", "--no-TTY", "service", "cat", KEY_FILE).stdout.strip()


@pytest.fixture
def client(compose: Compose) -> Iterator[Client]:
    with Client(address(compose), api_key=first_key(compose)) as client:
        yield client


def test_the_first_admin_key_is_its_owners_alone_and_nothing_under_v1_is_answered_without_a_key(compose, client):
    assert client.workers()
    assert compose("exec", "--no-TTY", "service", "stat", "--format=%a %u", KEY_FILE).stdout == "600 10001\n"

    with httpx.Client(base_url=address(compose)) as stranger:
        paths = [path for path in stranger.get("/openapi.json").json()["paths"] if path.startswith("/v1/")]
        answers = {path: stranger.get(path.replace("{", "").replace("}", "")).status_code for path in paths}
        assert answers == dict.fromkeys(paths, 401)
        assert stranger.get("/v1/nothing").status_code == 401
        assert stranger.get("/healthz").status_code == 200
        # They have a port of their own, which is not published.
        assert stranger.get("/metrics").status_code == 404


def test_no_password_is_in_what_docker_shows_and_the_application_cannot_change_the_schema(compose):
    passwords = [file.read_text() for file in Path(compose.settings["COSTCURVE_SECRETS"]).iterdir()]
    shown = "".join(
        inspect(each, "{{json .}}")
        for name in ("db", "roles", "migrate", "service", "worker")
        for each in compose.containers(name)
    )
    logged = compose("logs", "--no-color").stdout
    assert [password for password in passwords if password in shown or password in logged] == []

    asks = (
        "from costcurve.runtime.settings import Settings; from sqlalchemy import create_engine, text; "
        "url = Settings().resolved_database_url.replace('postgresql:', 'postgresql+psycopg:'); "
        "create_engine(url).connect().execute(text('DROP TABLE jobs CASCADE'))"
    )
    refused = compose("exec", "--no-TTY", "service", "python", "-c", asks, check=False)
    assert "must be owner of table jobs" in refused.stderr


def test_the_monitoring_network_reaches_the_metrics_and_not_the_database(compose):
    network = f"{compose.project}_metrics"
    asks = (
        "import socket, urllib.request; "
        "print(all('costcurve_' in urllib.request.urlopen(f'http://{name}:9100/metrics', timeout=9).read().decode() "
        "for name in ('service', 'worker')));\n"
        "try: socket.create_connection(('db', 5432), 3)\n"
        "except OSError: print('unreachable')"
    )
    image = f"costcurve-service:{compose.settings['COSTCURVE_TAG']}"
    seen = docker("run", "--rm", f"--network={network}", image, "python", "-c", asks)
    assert seen.stdout.split() == ["True", "unreachable"]


def kill_from_outside(container: str, image: str) -> None:
    """Kill a container's first process, and so all in it, as the kernel would that is out of memory.

    `docker kill` counts as stopped by hand, and no restart policy follows; and no process in there can kill the first.
    """
    pid = inspect(container, "{{.State.Pid}}")
    host = ["--pid=host", "--user=0", "--cap-add=KILL", "--network=none"]
    docker("run", "--rm", *host, image, "python", "-c", f"import os; os.kill({pid}, 9)")


def is_training(job: Job) -> bool:
    return job.status == "running" and job.progress.step > 0


def training(client: Client, seen: list[Job]) -> list[Job]:
    """Of these jobs the ones that train, as soon as there is one."""
    return until(lambda: [job for job in (client.get(job.id) for job in seen) if is_training(job)], bool, timeout=90)


def test_every_job_succeeds_though_a_worker_is_killed_the_database_restarted_and_workers_are_added(
    compose, images, client
):
    specs = [LONG, *(SPEC | {"seed": seed} for seed in range(1, JOBS))]
    jobs = [client.submit(spec=spec, engine=ENGINE) for spec in specs]
    [worker] = compose.containers("worker")

    [struck] = training(client, jobs)
    kill_from_outside(worker, images["service"])
    until(lambda: inspect(worker, "{{.RestartCount}} {{.State.Running}}"), lambda seen: seen == "1 true", timeout=60)
    # Nobody could hand it back: it returns to the queue when its worker's lease is over.
    until(lambda: client.get(struck.id), lambda job: job.attempt == 2, timeout=60)

    compose("restart", "db")
    compose("up", "--detach", "--wait", "--no-recreate", "--scale=worker=3", timeout=180)
    assert len({worker.host for worker in client.workers()}) == 3

    ended = [client.wait(job.id, timeout=300) for job in jobs]
    assert [job.error for job in ended if not job.succeeded] == []
    for job in ended:
        assert len(client.curve(job.id, metrics=["accuracy"]).x) == job.spec["epochs"]
        assert job.result["best_accuracy"] > 0.85


def test_a_worker_that_is_stopped_hands_its_job_back_and_ends_in_order(compose, client):
    job = client.submit(spec=SPEC | {"epochs": 1000}, engine=ENGINE)
    training(client, [job])
    compose("stop", "worker")

    assert {inspect(each, "{{.State.ExitCode}}") for each in compose.containers("worker")} == {"0"}
    handed_back = client.get(job.id)
    assert (handed_back.status, handed_back.attempt) == ("queued", 1)
    assert "its worker was stopped" in handed_back.status_reason

    compose("start", "worker")
    # It goes on from its checkpoint, which every worker reads from the volume that they share.
    [resumed] = until(lambda: [client.get(job.id)], lambda seen: seen[0].status == "running", timeout=60)
    assert resumed.progress.step >= handed_back.progress.step > 0
    client.cancel(job.id)
    assert client.wait(job.id, timeout=60).status == "cancelled"


def test_a_service_that_was_restarted_is_healthy_again_and_knows_its_workers(compose, client):
    compose("restart", "service")
    compose("up", "--detach", "--wait", "--no-recreate", "service")

    assert {inspect(each, "{{.State.Health.Status}}") for each in compose.containers("service")} == {"healthy"}
    assert client.workers()


def test_taken_down_and_put_up_again_it_has_every_job(compose, client):
    kept = client.submit(spec={"experiment": "neuron"})
    assert client.wait(kept.id, timeout=60).succeeded
    before = {job.id: (job.status, job.result) for job in client.iterate()}
    curve = client.curve(kept.id)
    compose("down")
    compose("up", "--detach", "--wait", timeout=180)

    assert {job.id: (job.status, job.result) for job in client.iterate()} == before
    assert client.curve(kept.id) == curve
    assert client.wait(client.submit(spec=SPEC | {"epochs": 1}).id, timeout=90).succeeded


def test_a_password_that_is_not_the_databases_stops_the_start_with_a_line_that_says_so(compose, tmp_path):
    other = Compose(compose.project, compose.settings | {"COSTCURVE_SECRETS": str(make_secrets(tmp_path / "other"))})
    refused = other(
        "run", "--rm", "--no-deps", "migrate", "python", "-m", "costcurve.store", "--wait=0", "migrate", check=False
    )

    assert refused.returncode == 1
    assert "password authentication failed" in refused.stderr


def test_what_the_workers_health_check_asks_is_whether_a_worker_lives_there(compose):
    asks = ["python", "-m", "workers.health"]
    assert compose("exec", "--no-TTY", "worker", *asks).stdout.endswith(": 1\n")

    # The same question from a container in which none works.
    answer = compose("run", "--rm", "--no-deps", "worker", *asks, check=False)
    assert (answer.returncode, answer.stdout.endswith(": 0\n")) == (1, True)
