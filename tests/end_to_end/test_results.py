"""What a real worker records of MNIST, read back through the client."""

from collections.abc import Iterator
from math import fsum
from pathlib import Path

import pytest

from costcurve import ApiError, Client
from tests.helpers.processes import Deployment, until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path | None) -> Iterator[Client]:
    with Deployment(Path(tmp_path_factory.mktemp("home")), mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers()
        with Client(deployment.url) as client:
            yield client


def network(client: Client, **spec: object) -> str:
    return client.submit({"experiment": "mnist", **spec}).id


@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_the_steps_tell_the_same_training_as_the_epochs(client, engine):
    spec = {"experiment": "mnist", "epochs": 3, "steps_per_epoch": 250}
    job = client.wait(client.submit(spec, engine=engine).id, timeout=120)
    assert job.succeeded, job.error
    epochs, steps = client.curve(job.id, "cost"), client.curve(job.id, granularity="step")

    assert steps.x == list(range(0, 800, 100))
    sizes = [100] * 7 + [50]
    by_steps = fsum(size * cost for size, cost in zip(sizes, steps.series["cost"], strict=True)) / 750
    assert by_steps == pytest.approx(fsum(epochs.series["cost"]) / 3, rel=1e-6)
    for low, mean, high in zip(*(steps.series[name] for name in ("cost_min", "cost", "cost_max")), strict=True):
        assert 0 < low < mean < high
    assert client.curve_csv(job.id, "cost", granularity="step").splitlines()[8] == f"700,{steps.series['cost'][7]!r}"
    assert b"mean, in a band" in client.plot(job.id, granularity="step")


def test_a_training_that_was_paused_has_the_steps_of_one_that_was_not(client):
    spec = {"epochs": 20, "steps_per_epoch": 4999, "seed": 3}
    whole = client.wait(network(client, **spec), timeout=120)
    job_id = network(client, **spec)
    until(lambda: client.get(job_id), lambda job: job.progress.step > 0)
    client.pause(job_id)
    paused = until(lambda: client.get(job_id), lambda job: job.status == "paused" or job.is_terminal)
    assert paused.status == "paused", "too fast to be paused: it needs more epochs"
    client.resume(job_id)
    assert client.wait(job_id, timeout=120).succeeded

    undisturbed, resumed = (client.curve(each, granularity="step") for each in (whole.id, job_id))
    assert len(undisturbed.x) == 1000
    assert resumed.series == undisturbed.series


def test_networks_are_compared_in_whatever_they_differ_and_came_to(client):
    spec = {"epochs": 2, "steps_per_epoch": 200}
    ids = [network(client, **spec, loss=loss) for loss in ("quadratic", "cross_entropy")]
    jobs = [client.wait(job_id, timeout=120) for job_id in ids]

    comparison = client.compare(ids, "accuracy")
    assert [each.field for each in comparison.differences if not each.derived] == ["loss", "reduction"]
    results = {each.field: each.values for each in comparison.results}
    assert results["final_correct"] == {job.id: job.result["final_correct"] for job in jobs}
    assert comparison.curves.x == [0, 1]
    assert [comparison.curves.series["accuracy"][job.id][-1] for job in jobs] == [
        job.result["final_accuracy"] for job in jobs
    ]
    by_steps = client.compare(ids, granularity="step", first=100)
    assert (by_steps.curves.x, by_steps.curves.next_from) == ([100, 200, 300], 400)
    assert client.compare_csv(ids, "cost").splitlines()[0] == f"x,{ids[0]}.cost,{ids[1]}.cost"
    with pytest.raises(ApiError) as refused:
        client.compare([ids[0], "job_0"])
    assert refused.value.status == 404
