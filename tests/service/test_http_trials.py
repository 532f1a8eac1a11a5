"""Trials by HTTP, on a store of each kind."""

import pytest

from costcurve.core.curve import Curve
from costcurve.core.job import Failure
from tests.helpers.problems import problem
from tests.helpers.reports import RESULT, mnist_result, progress
from tests.helpers.writing import fail, finish, record

SLOW = {"experiment": "neuron", "loss": "quadratic", "init": {"scheme": "constant", "weight": 2.0, "bias": 2.0}}
SATURATED = "output_saturated_quadratic"


@pytest.fixture
def slow(submit, store, claim) -> str:
    """Where a neuron is that has crawled from 0.98 to 0.97."""
    job, held = submit(SLOW), claim()
    outputs = [0.982 - 0.00004 * update for update in range(301)]
    slopes = [output * (1 - output) for output in outputs]
    record(store, held, progress(300), Curve(0, {"cost": outputs, "output": outputs, "sigmoid_prime": slopes}))
    finish(store, held, RESULT.model_copy(update={"final_output": outputs[-1]}))
    return f"/v1/jobs/{job.id}"


def ended(store, claim, *outputs: float) -> None:
    """End the jobs of a trial in the order of the queue."""
    for output in outputs:
        finish(store, claim(), RESULT.model_copy(update={"final_output": output}))


def test_without_a_body_the_first_finding_that_proposes_a_change_is_tried(http, slow):
    proposing = next(each for each in http.get(f"{slow}/diagnosis").json()["findings"] if each["try"] is not None)
    made = http.post(f"{slow}/trial")

    assert made.status_code == 201
    body = made.json()
    assert made.headers["location"] == f"/v1/sweeps/{body['id']}"
    job_id = slow.rpartition("/")[2]
    assert body["trial"] == {"job_id": job_id, "finding": proposing["code"], "looks": 1, "look": 1}
    assert body["variants"][0] == {}
    assert body["variants"][1].items() <= proposing["try"].items()
    assert (body["cells"], body["repeats"], body["counts"]["queued"]) == (2, 1, 2)
    assert body["name"] == f"trial of {job_id}: {proposing['code']}"


def test_the_verdict_is_in_the_sweep_and_in_the_finding_once_the_trial_has_ended(http, slow, store, claim):
    location = http.post(f"{slow}/trial", json={"finding": SATURATED}).headers["location"]

    def carried() -> dict:
        findings = http.get(f"{slow}/diagnosis").json()["findings"]
        return next(finding["trial"] for finding in findings if finding["code"] == SATURATED)

    ended(store, claim, 0.97)
    assert http.get(location).json()["verdict"] is None
    assert carried() == {"sweep_id": location.rpartition("/")[2], "verdict": None, "earlier": []}
    ended(store, claim, 0.012)
    verdict = http.get(location).json()["verdict"]
    assert carried()["verdict"] == verdict
    judged = {
        "outcome": "cured",
        "metric": "target_distance",
        "mean_difference": pytest.approx(-0.958),
        "interval": pytest.approx([-0.958, -0.958]),
        "means": [0.97, 0.012],
        "won_back": pytest.approx(0.958 / 0.97),
        "attainable": 0.0,
    }
    assert verdict == {
        **judged,
        "judgements": [judged],
        "level": 0.95,
        "method": "exact",
        "n": 1,
        "diverged": [0, 0],
        "left_out": 0,
        "statement": verdict["statement"],
    }
    assert verdict["statement"].startswith("The change cures it: ")
    leaders = http.get(f"{location}?leaderboard=0").json()
    assert (leaders["verdict"], leaders["leaderboard"]) == (verdict, [])
    assert [cell["settings"] for cell in http.get(f"{location}/cells?order=cell").json()["items"]] == leaders[
        "variants"
    ]


def test_a_finding_carries_the_outcomes_of_earlier_trials_beside_its_newest(http, slow, store, claim):
    made = []
    for as_it_is, changed in ((0.97, 0.012), (0.2, 0.9)):
        made.append(http.post(f"{slow}/trial", json={"finding": SATURATED}).json()["id"])
        ended(store, claim, as_it_is, changed)
    made += [http.post(f"{slow}/trial", json={"finding": SATURATED}).json()["id"] for _ in range(2)]
    http.post(f"{slow}/trial", json={"try": {"learning_rate": 5.0}})

    findings = http.get(f"{slow}/diagnosis").json()["findings"]
    trial = next(finding["trial"] for finding in findings if finding["code"] == SATURATED)
    assert (trial["sweep_id"], trial["verdict"]) == (made[-1], None)
    outcomes = ["cured", "harmful", None]
    assert trial["earlier"] == [
        {"sweep_id": sweep_id, "outcome": outcome} for sweep_id, outcome in zip(made, outcomes, strict=False)
    ]


def test_a_finding_carries_its_newest_trial_and_none_after_its_deletion(http, slow, store):
    made = [http.post(f"{slow}/trial", json={"finding": SATURATED}).json()["id"] for _ in range(2)]

    def carried() -> str | None:
        findings = http.get(f"{slow}/diagnosis").json()["findings"]
        trial = next(finding["trial"] for finding in findings if finding["code"] == SATURATED)
        return trial and trial["sweep_id"]

    for newest in (*made[::-1], None):
        assert carried() == newest
        if newest is not None:
            http.post(f"/v1/sweeps/{newest}/cancel")
            for job in http.get("/v1/jobs", params={"sweep_id": newest}).json()["items"]:
                http.delete(f"/v1/jobs/{job['id']}")


def test_a_change_of_ones_own_belongs_to_no_finding_unless_it_names_one(http, slow):
    own = http.post(f"{slow}/trial", json={"try": {"learning_rate": 5.0}, "repeats": 2}).json()
    named = http.post(f"{slow}/trial", json={"try": {"learning_rate": 5.0}, "finding": SATURATED}).json()

    assert (own["trial"]["finding"], own["repeats"], own["variants"]) == (None, 2, [{}, {"learning_rate": 5.0}])
    assert (named["trial"]["finding"], named["variants"]) == (SATURATED, own["variants"])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"finding": "diverged"}, ["/finding"]),
        ({"finding": "diverged", "try": {"learning_rate": 5.0}}, ["/finding"]),
        ({"finding": 3}, ["/finding"]),
        ({"try": {"learning_rate": -1, "epochs": 0}}, ["/try/learning_rate", "/try/epochs"]),
        ({"try": {"momentum": 0.9}}, ["/try/momentum"]),
        ({"try": {"seed": 3}}, ["/try/seed"]),
        ({"try": {"loss": "quadratic"}}, ["/try"]),
        ({"try": []}, ["/try"]),
        ({"try_": {"epochs": 3}}, ["/try_"]),
        ({"repeats": 0}, ["/repeats"]),
        ({"repeats": 201}, ["/repeats"]),
        ({"looks": 5}, ["/looks"]),
        ({"cells": 2}, ["/cells"]),
    ],
)
def test_what_makes_no_trial_is_refused_by_its_place_and_queues_nothing(http, slow, body, pointers):
    refusal = problem(http.post(f"{slow}/trial", json=body), 422, "invalid_request")

    assert [error["pointer"] for error in refusal["errors"]] == pointers
    assert http.get("/v1/sweeps").json()["items"] == []


def test_a_finding_that_is_not_there_is_refused_with_those_that_are(http, slow):
    refusal = problem(http.post(f"{slow}/trial", json={"finding": "x"}), 422, "invalid_request")

    has = ", ".join(dict.fromkeys(each["code"] for each in http.get(f"{slow}/diagnosis").json()["findings"]))
    assert refusal["errors"][0]["message"] == f"the diagnosis does not have this finding; it has {has}"


def test_a_job_whose_diagnosis_proposes_nothing_can_only_be_tried_with_a_change_of_ones_own(http, submit):
    job = f"/v1/jobs/{submit().id}"

    refusal = problem(http.post(f"{job}/trial"), 409, "nothing_to_try")
    assert refusal["detail"] == "no finding of the diagnosis proposes a change; send the fields to change as `try`"
    assert http.post(f"{job}/trial", json={"try": {"epochs": 9}}).status_code == 201


def test_a_job_that_does_not_exist_has_no_trial(http):
    problem(http.post("/v1/jobs/job_none/trial"), 404, "job_not_found")
    problem(http.post("/v1/jobs/job_none/trial", json={"try": {"epochs": 9}}), 404, "job_not_found")


def test_a_trial_repeated_with_its_key_is_answered_as_the_first_time(http, slow, store, claim):
    headers = {"Idempotency-Key": "k"}
    first = http.post(f"{slow}/trial", headers=headers)
    ended(store, claim, 0.97)
    again = http.post(f"{slow}/trial", headers=headers)

    assert (again.json(), again.headers["location"]) == (first.json(), first.headers["location"])
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    problem(http.post(f"{slow}/trial", headers=headers, json={"repeats": 2}), 422, "idempotency_key_reused")
    problem(http.post("/v1/sweeps", headers=headers, json={"spec": SLOW}), 422, "idempotency_key_reused")


def test_an_ended_trial_is_extended_as_often_as_it_was_planned(http, submit, store, claim):
    job = submit({"experiment": "mnist"})
    finish(store, claim(), mnist_result(9000))
    body = {"try": {"learning_rate": 1.0}, "repeats": 4, "looks": 2}
    location = http.post(f"/v1/jobs/{job.id}/trial", json=body).headers["location"]

    problem(http.post(f"{location}/extend", json={"repeats": 5}), 409, "trial_not_extendable")
    for correct in (9000, 9400, 9100, 8900, 8800, 9450, 9000, 9000):
        finish(store, claim(), mnist_result(correct))
    first = http.get(location).json()["verdict"]
    assert (first["outcome"], first["n"], first["level"], first["method"]) == ("undecided", 4, 0.975, "t")
    for _ in range(2):
        more = http.post(f"{location}/extend", json={"repeats": 5})
        assert (more.status_code, more.json()["repeats"], more.json()["total"]) == (202, 5, 10)
        assert more.json()["trial"]["look"] == 2
    for correct in (9000, 9400):
        finish(store, claim(), mnist_result(correct))
    assert http.get(location).json()["verdict"]["n"] == 5
    refusal = problem(http.post(f"{location}/extend", json={"repeats": 9}), 409, "trial_not_extendable")
    assert "was planned for 2 looks and has had 2" in refusal["detail"]
    refusal = problem(http.post(f"{location}/extend", json={"repeats": 0}), 422, "invalid_request")
    assert [error["pointer"] for error in refusal["errors"]] == ["/repeats"]
    problem(http.post("/v1/sweeps/swp_none/extend", json={"repeats": 9}), 404, "sweep_not_found")


def test_a_sweep_of_variants_is_listed_as_submitted_and_plotted_by_what_differs(http, store, claim):
    variants = [{}, {"loss": "cross_entropy"}, {"learning_rate": 0.5, "loss": "cross_entropy"}]
    made = http.post("/v1/sweeps", json={"spec": SLOW, "variants": variants}).json()
    for end in (3, 2, 1):
        held = claim()
        record(store, held, progress(1), Curve(0, {"cost": [9.0, end], "output": [0.9, end / 10]}))
        finish(store, held, RESULT.model_copy(update={"final_output": end / 10}))

    shown = http.get(f"/v1/sweeps/{made['id']}").json()
    assert (shown["variants"], shown["grid"], shown["cells"], shown["trial"]) == (variants, {}, 3, None)
    assert shown["spec"] == SLOW, "a variant that does not override it has it"
    assert [cell["settings"] for cell in shown["leaderboard"]] == variants[::-1]
    svg = http.get(f"/v1/sweeps/{made['id']}/curve.svg").text
    for name in ("as it is", "loss cross_entropy", "learning_rate 0.5, loss cross_entropy"):
        assert f"<!-- {name} -->" in svg


def test_a_retry_of_a_variant_has_its_spec(http, store, claim):
    made = http.post("/v1/sweeps", json={"spec": SLOW, "variants": [{}, {"epochs": 7}]}).json()
    ended(store, claim, 0.5)
    fail(store, claim(), Failure("worker_crashed", "three times"))
    http.post(f"/v1/sweeps/{made['id']}/retry")

    newest = http.get("/v1/jobs", params={"sweep_id": made["id"], "limit": 1}).json()["items"][0]
    assert (newest["cell"], newest["spec"]["epochs"], newest["status"]) == (1, 7, "queued")
