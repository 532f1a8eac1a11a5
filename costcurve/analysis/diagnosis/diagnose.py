"""Diagnosis of one job from what is recorded about it."""

from collections.abc import Iterable

from costcurve.analysis.diagnosis.findings import Diagnosis
from costcurve.analysis.diagnosis.network import diagnose_network
from costcurve.analysis.diagnosis.neuron import NEURON_DIAGNOSED, diagnose_neuron
from costcurve.analysis.diagnosis.training_course import NetworkCourse, Point
from costcurve.core.curve import Curve
from costcurve.core.job import Job
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec

NOT_RECORDED = "The job was trained by a version of CostCurve that did not record the metrics that a diagnosis needs."


def metrics_diagnosed(spec: AnySpec) -> tuple[str, ...] | None:
    """Return the metrics that the diagnosis reads; None for all recorded ones."""
    return NEURON_DIAGNOSED if isinstance(spec, NeuronSpec) else None


def diagnose(job: Job, start: Point | None, chunks: Iterable[Curve]) -> Diagnosis:
    """Return the reasons why a job's training goes as it does.

    Args:
        job: the job, in any state.
        start: the network's metrics before the first update; None for a neuron, and if they are not recorded.
        chunks: the whole curve in consecutive chunks, with the metrics of `metrics_diagnosed`.
    """
    if isinstance(job.spec, NeuronSpec):
        return diagnose_neuron(job.spec, chunks, job.error)
    curve = Curve.joined(chunks)
    if len(curve) and "slowdown_factor" not in curve.series:
        return Diagnosis(NOT_RECORDED, ())
    return diagnose_network(course_of(job, job.spec, start, curve))


def course_of(job: Job, spec: MnistSpec, start: Point | None, curve: Curve) -> NetworkCourse:
    """Return the course of a network's training."""
    return NetworkCourse.of(spec, start, curve, is_over=job.is_terminal, failure=job.error)
