"""`costcurve article`, end to end: real trainings on real MNIST, and the page that they come to."""

import json
import re
import signal
import subprocess
from collections import Counter
from dataclasses import replace

import pytest

from costcurve import Client
from costcurve.article.claims import Plot
from costcurve.article.collecting import draw, jobs_of
from costcurve.article.contents import CLAIMS
from costcurve.article.evidence import Evidence, Run
from tests.helpers.commands import started
from tests.helpers.pages import Parsed, needs_nothing_else
from tests.helpers.processes import Deployment, until

SWEEPS = {"article-neuron": 4, "article-mnist": 8, "article-equal-rates": 2, "rescue-curve": 10}


@pytest.fixture(scope="module")
def found(tmp_path_factory, mnist_dir):
    """What the command says with two seeds, and its folder."""
    output = tmp_path_factory.mktemp("article") / "out"
    with pytest.MonkeyPatch.context() as patch:
        if mnist_dir is not None:
            patch.setenv("COSTCURVE_DATA_DIR", str(mnist_dir))
        with started(
            "article", "--seeds", "2", "--output", str(output), "--json", home=output.parent, stderr=subprocess.PIPE
        ) as process:
            out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return json.loads(out), output


def claims(found) -> dict[str, dict]:
    return {claim["name"]: claim for claim in found[0]["claims"]}


def figures(claim: dict) -> dict[str, list]:
    return {figure["name"]: figure["values"] for figure in claim["figures"]}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
class TestWithRealMnist:
    def test_what_the_article_is_right_in_holds(self, found):
        verdicts = {name: claim["verdict"] for name, claim in claims(found).items()}

        assert list(verdicts) == [claim.name for claim in CLAIMS]
        right = [
            "good-start",
            "slow-start",
            "cure",
            "never-negative",
            "near-zero",
            "mnist-quadratic",
            "mnist-cross-entropy",
        ]
        right += ["remark-hidden-layers", "remark-badly-wrong", "remark-saturation", "rescue-curve"]
        assert {name: verdicts[name] for name in right} == dict.fromkeys(right, "holds")

    def test_a_gain_of_cross_entropy_from_the_ordinary_start_is_not_claimed_on_two_seeds(self, found):
        better = claims(found)["mnist-better"]

        assert better["verdict"] == "does not hold"
        assert abs(figures(better)["better"][0]) < 0.02

    def test_the_figures_are_those_of_the_trainings(self, found):
        neuron, mnist = figures(claims(found)["slow-start"]), figures(claims(found)["mnist-quadratic"])
        best = [
            job["result"]["best_correct"]
            for job in found[0]["jobs"]
            if (job["start"], job["spec"]["loss"]) == ("ordinary start", "quadratic")
        ]

        assert neuron["output_200"] == [pytest.approx(0.7887, abs=5e-5)]
        assert neuron["slowdown"] == [pytest.approx(56.6, rel=1e-3)]
        assert mnist["best"] == best
        assert len(best) == 2
        # 301 points of four neurons; of 20 networks 30 epochs, training and test, and 1,500 points by steps, of three.
        assert figures(claims(found)["never-negative"])["costs"] == [4 * 301 + 20 * (60 + 4500)]

    def test_the_page_shows_every_claim_with_its_pictures_and_needs_nothing_else(self, found):
        data, output = found
        html = (output / "article.html").read_text()
        parsed = Parsed(html)

        assert data["files"] == [str(output / "article.html"), str(output / "article.json")]
        assert json.loads((output / "article.json").read_text()) == {k: v for k, v in data.items() if k != "files"}
        assert needs_nothing_else(html)
        assert [name for name, count in Counter(parsed.values("id")).items() if count > 1] == []
        for claim in data["claims"]:
            section = re.search(rf'<section id="{claim["name"]}">.*?</section>', html, re.DOTALL)[0]
            assert claim["verdict"] in section
            assert section.count("<svg") == len(claim["plots"])
        assert parsed.elements["svg"] == sum(len(claim.plots) for claim in CLAIMS)


@pytest.fixture
def waiting(tmp_path):
    """A service without workers, where whatever is submitted waits."""
    (tmp_path / "home").mkdir()
    with Deployment(tmp_path / "home") as deployment:
        deployment.start_service()
        yield deployment


@pytest.mark.parametrize(("repeats", "told"), [(1, "loss cross_entropy"), (2, "mean of 2 repeats")])
def test_few_runs_are_drawn_as_lines_and_many_as_a_band_for_each_cell(waiting, repeats, told):
    waiting.start_workers()
    plot = Plot("all", "All <neurons>", lambda evidence: evidence.runs, "cost", log=True)
    claim = replace(CLAIMS[0], plots=(plot,))
    with Client(waiting.url) as client:
        sweep = client.submit_sweep(preset="article-neuron", repeats=repeats)
        client.wait_for_sweep(sweep.id, timeout=200)
        jobs = jobs_of(client, [sweep])
        runs = [Run(job, curve := client.curve(job.id), curve, client.diagnosis(job.id)) for job in jobs]
        (picture,) = draw(client, [claim], Evidence(runs, {}), lambda: None)

    assert picture.jobs == [job.id for job in jobs]
    assert len(jobs) == 4 * repeats
    assert f"<!-- {told}" in picture.svg.decode()
    assert "<!-- All &lt;neurons&gt;" in picture.svg.decode()


@pytest.fixture
def asked(waiting, tmp_path):
    """The command, asking that service."""
    arguments = ("article", "--seeds", "1", "--output", str(tmp_path / "out"), "--url", waiting.url)
    with started(*arguments, home=tmp_path, stderr=subprocess.PIPE) as process:
        yield process


def sweeps(client: Client) -> dict:
    return {sweep.name: sweep for sweep in client.list_sweeps().items}


def test_interrupted_it_cancels_what_it_submitted_and_writes_no_page(waiting, asked, tmp_path):
    assert asked.stderr.readline() == "article-neuron  0 of 4 ended: 4 queued\n"
    asked.send_signal(signal.SIGINT)

    assert asked.wait(120) == 130
    assert "interrupted" in asked.stderr.read()
    with Client(waiting.url) as client:
        assert {name: (sweep.total, sweep.counts["cancelled"]) for name, sweep in sweeps(client).items()} == {
            name: (count, count) for name, count in SWEEPS.items()
        }
    assert list((tmp_path / "out").iterdir()) == []


def test_without_every_training_there_is_no_verdict(waiting, asked, tmp_path):
    with Client(waiting.url) as client:
        for sweep in until(lambda: sweeps(client), lambda found: len(found) == len(SWEEPS)).values():
            client.cancel_sweep(sweep.id)
        assert asked.wait(120) == 1

    assert "24 of 24 trainings did not succeed, so there is no verdict" in asked.stderr.read()
    assert list((tmp_path / "out").iterdir()) == []


def test_workers_are_those_of_the_service_that_is_asked(tmp_path):
    arguments = ("article", "--workers", "3", "--output", str(tmp_path / "out"), "--url", "http://127.0.0.1:1")
    with started(*arguments, home=tmp_path, stderr=subprocess.PIPE) as process:
        assert process.wait(120) == 2
        assert "--workers" in process.stderr.read()
    assert not (tmp_path / "out").exists()


def test_a_service_of_its_own_ends_with_it(tmp_path):
    output = tmp_path / "out"
    with started("article", "--output", str(output), home=tmp_path, stderr=subprocess.PIPE) as process:
        assert "starting a service and 2 workers" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 130
    assert [file.name for file in output.iterdir()] == ["article.log"]
