"""The reasons, end to end: slow trainings are submitted, diagnosed, and their cures submitted in turn."""

import math
import re

import pytest

from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, mnist_dir):
    with Deployment(tmp_path_factory.mktemp("home"), mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers(processes=2)
        yield deployment


@pytest.fixture(scope="module")
def jobs(deployment) -> dict[str, dict]:
    """Presets and others by name, trained to their end."""
    names = ["neuron-good-start", "neuron-slow-quadratic", "neuron-slow-cross-entropy", "mnist-quadratic"]
    names += ["mnist-cross-entropy", "mnist-slow-quadratic", "mnist-slow-hidden"]
    ids = {name: deployment.submit(preset=name) for name in names}
    ids["zeros"] = deployment.submit({"experiment": "mnist", "init": "zeros", "epochs": 3})
    ids["diverging"] = deployment.submit({"experiment": "mnist", "learning_rate": 1e39, "epochs": 1})
    return {name: deployment.ended(job_id, timeout=500) for name, job_id in ids.items()}


def get(deployment: Deployment, path: str, **query: object) -> dict:
    answer = plain_http.get(f"{deployment.url}/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def findings(deployment: Deployment, job: dict) -> dict[str, dict]:
    found = get(deployment, f"jobs/{job['id']}/diagnosis")
    assert found["summary"]
    return {finding["code"]: finding for finding in found["findings"]}


def correct(deployment: Deployment, job_id: str) -> list[float]:
    return deployment.curve(job_id)["series"]["correct"]


def epoch_of_9000(deployment: Deployment, job_id: str) -> int:
    return next(epoch for epoch, count in enumerate(correct(deployment, job_id)) if count > 9000)


def cured(deployment: Deployment, finding: dict) -> dict:
    job = deployment.ended(deployment.submit(finding["try"]), timeout=500)
    assert job["status"] == "succeeded"
    return job


@pytest.mark.parametrize(
    ("name", "factor"),
    [("neuron-good-start", 6.705), ("neuron-slow-quadratic", 56.6), ("neuron-slow-cross-entropy", 56.6)],
)
def test_the_slowdown_factor_at_update_0_is_one_over_sigma_prime(deployment, jobs, name, factor):
    curve = get(deployment, f"jobs/{jobs[name]['id']}/curve", metrics="slowdown_factor,sigmoid_prime", to=0)

    assert curve["series"]["slowdown_factor"] == [pytest.approx(factor, rel=1e-3)]
    assert curve["series"]["slowdown_factor"][0] == pytest.approx(1 / curve["series"]["sigmoid_prime"][0])


def test_a_neuron_that_learns_at_once_has_nothing_to_say_and_one_that_crawls_says_why(deployment, jobs):
    assert findings(deployment, jobs["neuron-good-start"]) == {}
    slow = findings(deployment, jobs["neuron-slow-quadratic"])
    assert set(slow) == {"output_saturated_quadratic", "plateau"}
    assert slow["plateau"]["evidence"]["peak_output"] == pytest.approx(2 / 3)

    assert slow["output_saturated_quadratic"]["evidence"]["slowdown_factor"] == pytest.approx(56.6, rel=1e-3)
    assert cured(deployment, slow["output_saturated_quadratic"])["result"]["final_output"] < 0.02
    assert set(findings(deployment, jobs["neuron-slow-cross-entropy"])) == {"saturated_but_learning"}


def test_a_bad_start_with_the_quadratic_loss_is_output_saturation_and_cross_entropy_cures_it(deployment, jobs):
    slow = jobs["mnist-slow-quadratic"]
    finding = findings(deployment, slow)["output_saturated_quadratic"]
    first, last = finding["evidence"]["from_epoch"], finding["evidence"]["to_epoch"]

    assert (first, finding["evidence"]["has_ended"]) == (0, True)
    assert f"From epoch {first} to epoch {last} learning" in finding["statement"]
    counts = correct(deployment, slow["id"])
    assert max(counts[: last + 1]) < 6000 < counts[last + 1]
    gradients = finding["evidence"]["output_gradient_norm"]
    assert gradients["cross_entropy"] > 20 * gradients["quadratic"]
    assert f"{gradients['cross_entropy']:.3g}" in finding["statement"]

    assert finding["try"]["loss"] == "cross_entropy"
    assert {change["field"] for change in finding["changes"]} == {"loss", "learning_rate", "effective_learning_rate"}
    assert slow["spec"]["learning_rate"] == finding["isolate"]["learning_rate"] == 1.0
    cure = cured(deployment, finding)
    assert epoch_of_9000(deployment, cure["id"]) < epoch_of_9000(deployment, slow["id"])


def test_a_trial_of_a_bad_start_cures_it_on_several_seeds(deployment):
    slow = deployment.ended(deployment.submit({"epochs": 4}, preset="mnist-slow-quadratic"), timeout=500)
    made = plain_http.post(f"{deployment.url}/v1/jobs/{slow['id']}/trial", json={"repeats": 4}).json()
    verdict = until(lambda: get(deployment, f"sweeps/{made['id']}")["verdict"], bool, timeout=500)

    assert (made["trial"]["finding"], verdict["outcome"], verdict["n"]) == ("output_saturated_quadratic", "cured", 4)
    as_it_is, changed = verdict["means"]
    assert as_it_is < 0.13
    assert changed > 0.88
    assert findings(deployment, slow)["output_saturated_quadratic"]["trial"]["verdict"] == verdict


def test_a_saturated_hidden_layer_is_named_under_cross_entropy_too_and_a_smaller_init_cures_it(deployment, jobs):
    slow = jobs["mnist-slow-hidden"]
    finding = findings(deployment, slow)["hidden_layer_slow"]

    assert slow["spec"]["loss"] == "cross_entropy"
    assert finding["evidence"]["layer"] == 1
    assert finding["try"]["init"] in ("scaled_normal", "xavier")
    assert cured(deployment, finding)["result"]["best_correct"] > slow["result"]["best_correct"] + 500


def test_between_the_articles_two_networks_the_loss_makes_no_difference_and_it_is_said_why(deployment, jobs):
    pair = [jobs[f"mnist-{loss}"]["id"] for loss in ("quadratic", "cross-entropy")]
    found = get(deployment, "compare/diagnosis", job=pair)
    by_code = {finding["code"]: finding for finding in found["findings"]}

    assert "The loss and its rate make no difference here" in found["summary"]
    assert "The start is not badly wrong" in by_code["loss_and_rate_make_no_difference"]["statement"]
    assert by_code["learning_rate_not_comparable"]["evidence"]["effective_learning_rate"] == [3.0, pytest.approx(0.3)]
    alone = get(deployment, f"jobs/{pair[0]}/diagnosis")
    assert [finding["code"] for finding in alone["findings"]] == ["loss_makes_no_difference"]
    assert alone["start"]["slowdown_factor"] < 20


def test_units_that_start_alike_are_one_unit_before_and_after_training(deployment, jobs):
    checked = plain_http.post(f"{deployment.url}/v1/jobs:validate", json={"spec": jobs["zeros"]["spec"]}).json()
    finding = findings(deployment, jobs["zeros"])["symmetric_init"]

    assert [warning["code"] for warning in checked["warnings"]] == ["symmetric_init"]
    assert "effective hidden units: 1" in checked["warnings"][0]["message"]
    assert (finding["severity"], finding["evidence"]["effective_units"], finding["evidence"]["units"]) == (
        "warning",
        1,
        30,
    )


def test_what_a_finding_names_is_shaded_in_the_jobs_plot(deployment, jobs):
    for name, said in (
        ("mnist-slow-quadratic", "learning stood still at the output"),
        ("neuron-slow-quadratic", "the cost lies on a plateau"),
    ):
        svg = plain_http.get(f"{deployment.url}/v1/jobs/{jobs[name]['id']}/curve.svg").text
        assert re.search(rf"<!-- From \w+ 0 to \w+ \d+ {said} -->", svg), name
    svg = plain_http.get(f"{deployment.url}/v1/jobs/{jobs['neuron-good-start']['id']}/curve.svg").text
    assert "<!-- From" not in svg


def test_a_training_that_diverged_says_with_which_rate(deployment, jobs):
    assert jobs["diverging"]["error"]["code"] == "diverged"
    finding = findings(deployment, jobs["diverging"])["diverged"]

    assert finding["severity"] == "error"
    assert 1 <= finding["try"]["learning_rate"] <= 30


FEW_STEPS = {"experiment": "mnist", "steps_per_epoch": 20, "epochs": 2}


@pytest.mark.parametrize(
    "spec",
    [
        {**FEW_STEPS, "loss": "quadratic", "init": {"scheme": "normal", "std": 1e39}},
        {**FEW_STEPS, "loss": "cross_entropy", "init": {"scheme": "normal", "std": 1e39}},
        {**FEW_STEPS, "loss": "quadratic", "init": {"scheme": "constant", "weight": 1e300}},
        # Its quadratic cost is finite: the output is exactly 1.
        {"experiment": "neuron", "epochs": 5, "input": 1e300, "init": {"scheme": "constant", "weight": 1e300}},
    ],
    ids=["quadratic", "cross-entropy", "constant", "neuron"],
)
def test_a_start_that_is_not_finite_is_named_and_nothing_else_is_blamed(deployment, spec):
    job = deployment.ended(deployment.submit(spec))
    found = findings(deployment, job)

    assert (job["status"], job["error"]["code"]) in {("failed", "start_not_finite"), ("failed", "diverged")}
    assert list(found) == ["start_not_finite"]
    assert "nan" not in found["start_not_finite"]["statement"]
    assert cured(deployment, found["start_not_finite"])["result"]["final_cost"] >= 0


@pytest.mark.parametrize(
    "spec",
    [
        {"experiment": "mnist", "steps_per_epoch": 20, "epochs": 2, "init": {"scheme": "normal", "output_bias": 1e5}},
        {"experiment": "neuron", "epochs": 5, "init": {"scheme": "constant", "weight": 1000.0, "bias": 0.0}},
    ],
    ids=["mnist", "neuron"],
)
def test_an_output_that_is_saturated_beyond_all_numbers_is_diagnosed_with_an_infinite_factor(deployment, spec):
    job = deployment.ended(deployment.submit({**spec, "loss": "quadratic"}))
    finding = findings(deployment, job)["output_saturated_quadratic"]

    assert finding["evidence"]["slowdown_factor"] is None
    assert "∞ times as much" in finding["statement"]


def test_every_figure_of_every_epoch_is_in_the_curve(deployment, jobs):
    series = deployment.curve(jobs["mnist-quadratic"]["id"])["series"]

    for metric in ("saturated_fraction", "mean_sigmoid_prime", "gradient_norm", "update_ratio"):
        for layer in (1, 2):
            assert len(series[f"{metric}.{layer}"]) == 30
    ratio = series["output_delta.cross_entropy"][7] / series["output_delta.quadratic"][7]
    assert series["slowdown_factor"][7] == pytest.approx(ratio)
    assert all(math.isfinite(value) for values in series.values() for value in values)


def test_a_job_that_waits_has_no_findings_and_an_unknown_one_is_404(deployment):
    waiting = deployment.submit({"experiment": "mnist"}, device="cuda")

    found = get(deployment, f"jobs/{waiting}/diagnosis")
    assert (found["findings"], found["start"]) == ([], None)
    assert "no epoch has ended" in found["summary"]
    assert plain_http.get(f"{deployment.url}/v1/jobs/job_0/diagnosis").status_code == 404
    assert plain_http.get(f"{deployment.url}/v1/compare/diagnosis", params={"job": [waiting]}).status_code == 422
