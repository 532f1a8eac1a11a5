"""200 jobs on three nodes, of which one is lost, and then the head: no job is lost, and none done twice."""

import signal

import pytest

from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from tests.chaos.auditor import Auditor
from tests.helpers.processes import until
from tests.ray.nodes import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.long]

COUNT = 200
# Tenths of a second of training each; by name, and not the fastest, so that a worker has one at a time in hand.
NEURON = {"experiment": "neuron", "loss": "quadratic", "init": "normal"}
MNIST = {"experiment": "mnist", "loss": "cross_entropy", "epochs": 1}
SPECS = (
    *({**NEURON, "seed": seed, "epochs": 300 + 300 * seed} for seed in range(5)),
    {**MNIST, "steps_per_epoch": 300},
)
# Ray's own time, after which whoever has lost the head ends; 60 s by default.
PATIENCE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "8"}


def test_nothing_is_lost_or_done_twice_when_a_node_is_lost_and_then_the_head(tmp_path, postgresql_url):
    database = Database(postgresql_url)
    store, auditor = JobStore(database), Auditor()

    def submit(spec: dict) -> str:
        return store.submit(Submission.model_validate({"spec": spec, "engine": "autograd"})).job.id

    def wait(job_ids: list[str], count: int) -> None:
        until(lambda: len(store.ended(job_ids)), lambda ended: ended >= count, timeout=200, every=0.1)

    with Cluster(tmp_path, environment=PATIENCE) as cluster:
        cluster.start_head(cpus=1)
        cluster.start_node("left", cpus=1)
        cluster.start_node("right", cpus=1)
        fleet = cluster.start_fleet(postgresql_url)
        learnt = [submit(spec) for spec in SPECS]
        wait(learnt, len(learnt))
        for job_id in learnt:
            auditor.learn(store, job_id)

        job_ids = [submit(SPECS[number % len(SPECS)]) for number in range(COUNT)]
        until(store.workers, lambda workers: len([each for each in workers if each.job_ids]) == 3, timeout=120)
        cluster.kill("right")
        wait(job_ids, COUNT // 4)

        before = {worker.id for worker in store.workers()}
        cluster.kill("head")
        cluster.start_head(cpus=1)
        cluster.start_node("left again", cpus=1)
        until(
            store.workers, lambda workers: any(each.job_ids for each in workers if each.id not in before), timeout=120
        )
        wait(job_ids, COUNT)
        fleet.send_signal(signal.SIGTERM)
        assert fleet.wait(120) == 0
    assert auditor.audit(database, tmp_path / "checkpoints", job_ids) == []
    database.close()
