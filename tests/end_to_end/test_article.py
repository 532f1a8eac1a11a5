"""The article, end to end: its experiments submitted over HTTP, trained by real workers on real MNIST."""

import re

import pytest

from costcurve.core.presets import PRESETS
from tests.helpers import plain_http
from tests.helpers.processes import Deployment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def article(tmp_path_factory, mnist_dir):
    """Every experiment that the tests below look at, submitted at once: name → ended job, and the deployment."""
    with Deployment(tmp_path_factory.mktemp("home"), mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers(processes=2)
        ids = {
            name: deployment.submit(preset=name)
            for name in ("mnist-quadratic", "mnist-cross-entropy", *(name for name in PRESETS if "neuron" in name))
        }
        for name in ("mnist-slow-quadratic", "mnist-slow-cross-entropy"):
            ids[name] = deployment.submit(preset=name, spec={"epochs": 4})
        jobs = {name: deployment.ended(job_id, timeout=500) for name, job_id in ids.items()}
        assert {job["status"] for job in jobs.values()} == {"succeeded"}, jobs
        yield deployment, jobs


def series(article, name: str, metric: str) -> list[float]:
    deployment, jobs = article
    return deployment.curve(jobs[name]["id"])["series"][metric]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("neuron-good-start", 0.8176, 0.0940),
        ("neuron-slow-quadratic", 0.9820, 0.2028),
        ("neuron-slow-cross-entropy", 0.9820, 0.0120),
    ],
)
def test_a_neuron_starts_and_ends_where_the_article_says(article, name, start, end):
    output = series(article, name, "output")

    assert len(output) == 301
    assert (round(output[0], 4), round(output[-1], 4)) == (start, end)
    assert article[1][name]["result"]["final_output"] == output[-1]


def test_the_badly_started_neuron_crawls_for_200_updates_with_the_quadratic_loss(article):
    assert round(series(article, "neuron-slow-quadratic", "output")[200], 4) == 0.7887
    assert series(article, "neuron-slow-cross-entropy", "output")[200] < 0.02


@pytest.mark.parametrize("loss", ["quadratic", "cross-entropy"])
@pytest.mark.parametrize(
    "engine", ["fused_cpu", pytest.param("autograd", marks=pytest.mark.long)], ids=["fused", "reference"]
)
def test_mnist_reaches_the_articles_accuracy_with_either_loss_on_either_engine(article, loss, engine):
    deployment, jobs = article
    name = f"mnist-{loss}"
    job = jobs[name]
    if engine == "autograd":
        job = deployment.ended(deployment.submit(preset=name, engine=engine), timeout=500)
    correct = deployment.curve(job["id"])["series"]["correct"]
    result = job["result"]

    assert job["engine"] == engine
    assert len(correct) == 30
    assert correct[0] >= 8900
    assert result["best_correct"] == max(correct) >= 9450
    assert correct[result["best_epoch"]] == result["best_correct"]
    assert result["best_accuracy"] == result["best_correct"] / 10_000


def test_the_transcript_is_printed_as_in_the_article(article):
    deployment, jobs = article
    job = jobs["mnist-cross-entropy"]
    text = plain_http.get(f"{deployment.url}/v1/jobs/{job['id']}/transcript").text

    lines = text.splitlines()
    assert len(lines) == 31
    for epoch, (line, correct) in enumerate(
        zip(lines, series(article, "mnist-cross-entropy", "correct"), strict=False)
    ):
        assert line == f"Epoch {epoch}: {correct:.0f} / 10000"
    assert re.fullmatch(rf"best: {job['result']['best_correct']} / 10000", lines[-1])


def test_mnist_started_badly_wrong_stands_still_with_the_quadratic_loss_and_is_cured_by_cross_entropy(article):
    assert series(article, "mnist-slow-quadratic", "correct")[2] < 2000
    assert series(article, "mnist-slow-cross-entropy", "correct")[0] > 8800


@pytest.mark.parametrize("metric", ["cost", "weight", "gradient"])
def test_figures_of_any_size_can_be_drawn(article, metric):
    deployment, _ = article
    huge = {"experiment": "neuron", "epochs": 3, "init": {"scheme": "constant", "weight": 1e308, "bias": 0}}
    job_id = deployment.ended(deployment.submit(huge))["id"]

    for log in ("true", "false"):
        plot = plain_http.get(f"{deployment.url}/v1/jobs/{job_id}/curve.png", params={"metrics": metric, "log": log})
        assert plot.status_code == 200


@pytest.mark.parametrize("file_format", ["svg", "png"])
def test_curves_are_drawn_with_title_axes_and_legend(article, file_format):
    deployment, jobs = article
    pair = [jobs[f"mnist-slow-{loss}"]["id"] for loss in ("quadratic", "cross-entropy")]
    query = {"job": pair, "metrics": "accuracy,cost", "title": "A <slow> start"}
    first, second = (plain_http.get(f"{deployment.url}/v1/compare.{file_format}", params=query) for _ in range(2))

    assert first.status_code == 200
    assert first.content == second.content
    if file_format == "png":
        assert first.headers["content-type"] == "image/png"
        assert first.content.startswith(b"\x89PNG")
    else:
        assert first.headers["content-type"] == "image/svg+xml"
        for text in ("A &lt;slow&gt; start", "finished epochs", "accuracy on the test images (%)", "loss quadratic"):
            assert f"<!-- {text}" in first.text
