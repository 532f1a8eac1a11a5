"""Diagnosis of jobs whose loss or rate changes during the training."""

from dataclasses import replace

import pytest

from costcurve.analysis.diagnosis import Compared, compare, diagnose
from costcurve.core.curve import Curve
from costcurve.core.job import Failure
from tests.analysis.test_findings import SOUND, STUCK

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RESCUED = {
    "experiment": "mnist",
    "loss": "quadratic",
    "epochs": 6,
    "schedule": [{"from_epoch": 3, "loss": "cross_entropy", "learning_rate": 0.5}],
}


def curve_of(*epochs: dict) -> Curve:
    curve = Curve()
    for epoch in epochs:
        curve.append({"cost": 0.5, "correct": 900.0, **SOUND, **epoch})
    return curve


def test_a_job_with_a_schedule_is_diagnosed_up_to_its_first_change_and_says_so(submit):
    job = submit(RESCUED)
    stuck, sound = [STUCK] * 3, [{}] * 3
    found = diagnose(job, {**SOUND, **STUCK}, [curve_of(*stuck), replace(curve_of(*sound), start=3)])

    assert found.summary.startswith("Before the schedule's first change, at epoch 3: ")
    [finding] = [each for each in found.findings if each.code == "output_saturated_quadratic"]
    assert (finding.evidence["from_epoch"], finding.evidence["to_epoch"]) == (0, 2)
    assert "schedule" not in finding.cure


def test_a_neuron_with_a_schedule_is_too(submit):
    init = {"scheme": "constant", "weight": 2, "bias": 2}
    changes = [{"from_epoch": 2, "loss": "cross_entropy"}]
    job = submit({"experiment": "neuron", "loss": "quadratic", "init": init, "schedule": changes})
    found = diagnose(job, None, [Curve(0, {"output": [0.98, 0.98, 0.5], "sigmoid_prime": [0.018, 0.018, 0.25]})])

    assert found.summary.startswith("Before the schedule's first change, at update 2: ")
    assert found.findings[0].evidence["to_update"] == 1


@pytest.mark.parametrize(("epoch", "rate", "tried"), [(1, 3.0, True), (4, 0.5, False)])
def test_a_training_that_diverged_is_told_the_rate_in_force(submit, epoch, rate, tried):
    job = submit(RESCUED)
    failed = replace(job, error=Failure("diverged", "cost"), progress=replace(job.progress, epoch=epoch))
    [diverged] = [each for each in diagnose(failed, None, []).findings if each.code == "diverged"]

    assert diverged.evidence["learning_rate"] == rate
    assert (diverged.cure is not None) is tried


def test_jobs_with_a_schedule_do_not_differ_in_their_loss_alone(submit):
    jobs = [submit({**RESCUED, "loss": loss}) for loss in ("quadratic", "cross_entropy")]

    assert (
        compare([Compared(job.id, job.spec, None) for job in jobs]).findings[0].code == "learning_rate_not_comparable"
    )
