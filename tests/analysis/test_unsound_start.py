"""A start that is not finite: the one finding, and no other."""

import math
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from costcurve.analysis.diagnosis import diagnose
from costcurve.core.curve import Curve, diagnosis_metrics
from costcurve.core.errors import StartNotFinite
from costcurve.core.job import Failure
from costcurve.core.spec import AnySpec, Spec

any_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_figures_of_the_start_that_are_not_finite_are_the_only_finding(submit, bad):
    job = submit({"experiment": "mnist", "init": {"scheme": "normal", "std": 1e39}})
    start = dict.fromkeys(diagnosis_metrics(job.spec), 1.0) | {"gradient_norm.1": bad, "slowdown_factor": math.inf}
    [finding] = diagnose(job, start, [Curve()]).findings

    assert (finding.code, finding.severity) == ("start_not_finite", "error")
    assert finding.evidence["metrics"] == ["gradient_norm.1"]
    assert "nan" not in finding.statement
    assert any_spec.validate_python(finding.cure).init.scheme == "scaled_normal"


def test_a_job_that_failed_before_its_first_update_does_not_blame_its_learning_rate(submit):
    job = submit({"experiment": "neuron", "input": 1e300, "init": {"scheme": "constant", "weight": 1e300}})
    error = Failure(code=StartNotFinite.code, message="the start is not finite: cost is nan before the first update")
    diagnosis = diagnose(replace(job, error=error), None, [])

    assert [finding.code for finding in diagnosis.findings] == ["start_not_finite"]
    assert "not to blame" in diagnosis.findings[0].statement
    assert any_spec.validate_python(diagnosis.findings[0].cure).init.weight == 0.6


def test_a_ratio_that_is_infinite_is_an_ordinary_start(submit):
    job = submit({"experiment": "mnist"})
    start = dict.fromkeys(diagnosis_metrics(job.spec), 1.0) | {"slowdown_factor": math.inf, "update_ratio.2": math.inf}

    assert "start_not_finite" not in {finding.code for finding in diagnose(job, start, [Curve()]).findings}
