"""Trainings of real networks and neurons, and their diagnoses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding
from costcurve.analysis.diagnosis.network import diagnose_network
from costcurve.analysis.diagnosis.neuron import diagnose_neuron
from costcurve.analysis.diagnosis.training_course import NetworkCourse
from costcurve.core.curve import Curve
from costcurve.core.errors import JobFailure
from costcurve.core.job import Failure
from costcurve.core.spec import MnistSpec, NeuronSpec
from workers.engines import autograd, fused_cpu
from workers.training.network import ImageSets

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Trained:
    """A training that has ended: what it recorded, and its diagnosis."""

    spec: MnistSpec | NeuronSpec
    curve: Curve
    diagnosis: Diagnosis

    @property
    def accuracy(self) -> float:
        return self.curve.series["accuracy"][-1] if len(self.curve) else 0.1

    @property
    def first(self) -> Finding:
        return self.diagnosis.findings[0]

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.diagnosis.findings]


def network(fields: Mapping[str, Any], images: ImageSets) -> Trained:
    spec = MnistSpec.model_validate({"experiment": "mnist", **fields})
    if fused_cpu.why_missing() is None:
        reports = fused_cpu.train_mnist(spec, images)
    else:
        reports = autograd.train_mnist(spec, images, device=CPU)
    start, curves, failure = None, [], None
    try:
        for report in reports:
            start = start or report.start
            curves.append(report.curve)
    except JobFailure as error:
        failure = Failure(error.code, str(error))
    curve = Curve.joined(curves)
    course = NetworkCourse.of(spec, start, curve, is_over=True, failure=failure)
    return Trained(spec, curve, diagnose_network(course))


def neuron(**fields: Any) -> Trained:
    spec = NeuronSpec.model_validate({**fields, "experiment": "neuron"})
    curves, failure = [], None
    try:
        curves.extend(report.curve for report in autograd.train_neuron(spec, device=CPU))
    except JobFailure as error:
        failure = Failure(error.code, str(error))
    return Trained(spec, Curve.joined(curves), diagnose_neuron(spec, curves, failure))
