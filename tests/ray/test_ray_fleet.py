"""A fleet on a real Ray cluster: it follows the queue, hands back, and is refused where it must not run."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from tests.helpers import processes
from tests.ray.nodes import Cluster

# A driver and its workers each import Ray and torch first; on a busy machine that takes minutes.
until = partial(processes.until, timeout=400)

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]

# By name, and not the fastest: it takes one job at a time, and as long as it is given epochs.
LONG = {"spec": {"experiment": "neuron", "loss": "quadratic", "epochs": 1_000_000}, "engine": "autograd"}

OTHER = "another-token-than-the-clusters"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start_head(cpus=2)
        yield cluster


@pytest.fixture
def queue(postgresql_url) -> Iterator[JobStore]:
    database = Database(postgresql_url)
    yield JobStore(database)
    database.close()


def submit(queue: JobStore, body: dict) -> str:
    return queue.submit(Submission.model_validate(body)).job.id


def status(queue: JobStore, job_id: str) -> JobStatus:
    return queue.get(job_id).status


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def refusal(cluster: Cluster, fleet: subprocess.Popen) -> str:
    """Why a fleet ended by itself. Workers of a fleet that ended before it may still have something to say, too."""
    assert fleet.wait(120) == 1
    return [line for line in cluster.log().splitlines() if "[critical" in line][-1]


def test_workers_come_with_the_queue_and_go_when_idle_and_sigterm_hands_back(cluster, queue, postgresql_url):
    fleet = cluster.start_fleet(postgresql_url, "--min-workers", "0", "--idle-seconds", "1")
    first, second = submit(queue, LONG), submit(queue, LONG)
    until(lambda: [status(queue, each) for each in (first, second)], lambda seen: seen == [JobStatus.RUNNING] * 2)
    assert len(queue.workers()) == 2

    queue.cancel(first)
    [left] = until(queue.workers, lambda workers: len(workers) == 1)
    assert left.job_ids == (second,)  # the idle one was let go
    assert left.id.split("_")[1] in cluster.log()

    fleet.send_signal(signal.SIGTERM)
    assert fleet.wait(120) == 0
    job = queue.get(second)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 1)
    assert "requeued, as its worker was stopped" in job.status_reason
    assert queue.workers() == []


def test_a_worker_outlives_neither_its_actor_nor_its_fleet_and_hands_back(cluster, queue, postgresql_url):
    fleet = cluster.start_fleet(postgresql_url, "--max-workers", "1")
    job_id = submit(queue, LONG)
    [first] = until(queue.workers, lambda workers: workers and workers[0].job_ids)

    os.kill(parent(parent(first.pid)), signal.SIGKILL)
    [second] = until(
        queue.workers, lambda workers: [each.id for each in workers if each.job_ids] not in ([], [first.id])
    )
    assert second.job_ids == (job_id,)

    fleet.kill()
    until(lambda: second.id in {each.id for each in queue.workers()}, lambda is_there: not is_there)
    assert status(queue, job_id) is JobStatus.QUEUED


def test_a_fleet_with_a_wrong_token_or_none_is_refused(cluster, postgresql_url, tmp_path):
    wrong = cluster.start_fleet(postgresql_url, RAY_AUTH_TOKEN=OTHER)
    assert "rejects this token" in refusal(cluster, wrong)

    missing = cluster.start_fleet(postgresql_url, RAY_AUTH_TOKEN=None, HOME=str(tmp_path))
    assert "RAY_AUTH_TOKEN is not set" in refusal(cluster, missing)


def test_a_cluster_without_tokens_is_refused_unless_told_so_and_serves_sqlite_as_long_as_it_is_this_host(tmp_path):
    file = f"sqlite:///{tmp_path}/costcurve.db"
    with closing(Database(file)) as database, Cluster(tmp_path, token=None) as cluster:
        queue = JobStore(database)
        cluster.start_head(cpus=1)
        assert "requires no token" in refusal(cluster, cluster.start_fleet(file, RAY_AUTH_TOKEN=OTHER))

        fleet = cluster.start_fleet(file, "--ray-without-token")
        job_id = submit(queue, {"spec": {"experiment": "neuron"}})
        until(lambda: status(queue, job_id), lambda seen: seen is JobStatus.SUCCEEDED)

        cluster.start_node("second", cpus=0)
        assert "the database is an SQLite file on this machine" in refusal(cluster, fleet)
