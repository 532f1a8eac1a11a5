"""A loss that is only in the table of names is served on every route; what needs measurements of it says so."""

import pytest

from costcurve.core import losses
from costcurve.core.losses import LossInfo
from costcurve.store.job_update import JobUpdate
from tests.helpers.reports import mnist_result
from tests.helpers.writing import written

SPECS = {
    "neuron": {"experiment": "neuron", "loss": "log_cosh"},
    "network": {"experiment": "mnist", "loss": "log_cosh"},
    "large network": {"experiment": "mnist", "loss": "log_cosh", "layers": [784, 1000, 10]},
    "later": {"experiment": "neuron", "loss": "quadratic", "schedule": [{"from_epoch": 5, "loss": "log_cosh"}]},
}


@pytest.fixture(autouse=True)
def _log_cosh(monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "log_cosh", LossInfo("log_cosh", "log-cosh", "ln cosh of the error"))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_spec_with_it_is_forecast_without_the_figures_that_depend_on_it(http, spec):
    checked = http.post("/v1/jobs:validate", json={"spec": spec})
    submitted = http.post("/v1/jobs", json={"spec": spec})

    assert (checked.status_code, submitted.status_code) == (200, 201)
    forecast = checked.json()["forecast"]
    assert forecast["start"]["slowdown_factor"] > 1
    assert not {"cost", "gradient", "gradient_norm.1", "update_ratio.1"} & {*forecast["start"]}
    assert (forecast["course"], forecast["learning_rate"]) == (None, None)


@pytest.mark.parametrize("spec", [SPECS["neuron"], SPECS["network"]], ids=["neuron", "network"])
def test_its_diagnosis_says_that_its_rules_do_not_hold(http, spec):
    job_id = http.post("/v1/jobs", json={"spec": spec}).json()["id"]
    found = http.get(f"/v1/jobs/{job_id}/diagnosis").json()

    assert found["findings"] == []
    assert found["summary"] == (
        "A training with the loss log_cosh is not diagnosed: the rules were measured with quadratic and cross-entropy "
        "only. What is recorded of it is in its curve."
    )
    assert http.post(f"/v1/jobs/{job_id}/trial", json={}).json()["code"] == "nothing_to_try"


def test_jobs_with_it_are_compared_with_others_and_listed(http, store, claim):
    ids = [
        http.post("/v1/jobs", json={"spec": SPECS["network"] | {"loss": loss}}).json()["id"] for loss in losses.LOSSES
    ]
    for _ in ids:
        held = claim()
        written(store, JobUpdate(held, outcome=mnist_result(9000)))
    query = "&".join(f"job={job_id}" for job_id in ids)

    for path in (f"/v1/compare?{query}", f"/v1/compare/diagnosis?{query}", f"/v1/compare.svg?{query}", "/v1/jobs"):
        assert http.get(path).status_code == 200, path
    assert [job["id"] for job in http.get("/v1/jobs?loss=log_cosh").json()["items"]] == [ids[-1]]
