"""Diagnosis of one job from what is recorded about it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding, diagnosis_of
from costcurve.analysis.diagnosis.mnist import diagnose_network
from costcurve.analysis.diagnosis.neuron import NEURON_DIAGNOSED, diagnose_neuron
from costcurve.analysis.diagnosis.training_course import NetworkCourse, Point
from costcurve.core.curve import Curve, is_sound
from costcurve.core.errors import Diverged, StartNotFinite
from costcurve.core.initializers import ConstantInit
from costcurve.core.job import Job
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec, phase_at
from costcurve.core.spec_diff import altered, own_fields

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

    The findings about a job with a schedule are those up to its first change: one loss and one rate explain them.
    """
    found = _up_to_the_first_change(job, start, chunks)
    if unsound := list(_start_not_finite(job, start)):
        return diagnosis_of(unsound, otherwise=found.summary)
    diverged = list(_diverged(job))
    return diagnosis_of([*diverged, *found.findings], otherwise=found.summary) if diverged else found


def _up_to_the_first_change(job: Job, start: Point | None, chunks: Iterable[Curve]) -> Diagnosis:
    spec, change = phase_at(job.spec, 0), min((each.from_epoch for each in job.spec.schedule), default=None)
    before = chunks if change is None else [chunk.between(0, change - 1) for chunk in chunks]
    if isinstance(spec, NeuronSpec):
        found = diagnose_neuron(spec, before)
    else:
        curve = Curve.joined(before)
        if len(curve) and "slowdown_factor" not in curve.series:
            return Diagnosis(NOT_RECORDED, ())
        found = diagnose_network(course_of(job, spec, start, curve))
    if change is None:
        return found
    unit = "update" if isinstance(spec, NeuronSpec) else "epoch"
    return replace(found, summary=f"Before the schedule's first change, at {unit} {change:,}: {found.summary}")


def course_of(job: Job, spec: MnistSpec, start: Point | None, curve: Curve) -> NetworkCourse:
    """Return the course of a network's training."""
    return NetworkCourse.of(spec, start, curve, is_over=job.is_terminal)


def _start_not_finite(job: Job, start: Point | None) -> Iterator[Finding]:
    """Yield a finding if a metric was not finite before any update.

    The learning rate is then not to blame, and no other metric means anything.
    """
    metrics = [name for name, value in (start or {}).items() if not is_sound(name, value)]
    has_failed_at_once = job.error is not None and job.error.code == StartNotFinite.code
    if not metrics and not has_failed_at_once:
        return
    is_neuron = isinstance(job.spec, NeuronSpec)
    number, largest = ("float64", "1.8e308") if is_neuron else ("float32", "3.4e38")
    named = f" (not finite: {', '.join(metrics[:3])}{', …' if len(metrics) > 3 else ''})" if metrics else ""
    yield Finding(
        "start_not_finite",
        "error",
        f"The start is not finite: initial weights, or values computed from them, exceed the range of {number}{named}.",
        "No meaningful update was made, so the learning rate is not to blame. "
        f"The largest {number} number is {largest}; the init is {own_fields(job.spec).get('init', 'the default')}. "
        + ("Use a smaller init or a smaller input." if is_neuron else "Use a smaller init."),
        {
            "message": job.error.message if job.error is not None else None,
            "metrics": metrics,
            "init": job.spec.init.model_dump(mode="json"),
        },
        altered(job.spec, init=ConstantInit().model_dump(mode="json") if is_neuron else "scaled_normal"),
    )


def _diverged(job: Job) -> Iterator[Finding]:
    if job.error is None or job.error.code != Diverged.code:
        return
    phase = phase_at(job.spec, job.progress.epoch)
    rate = phase.learning_rate
    yield Finding(
        "diverged",
        "error",
        f"The training diverged: {job.error.message}.",
        f"The updates were too large to recover from. The learning rate is {rate:g} (effectively "
        f"{phase.effective_learning_rate:g}). Try a tenth of it first.",
        {
            "message": job.error.message,
            "step": job.progress.step,
            "epoch": job.progress.epoch,
            "learning_rate": rate,
            "effective_learning_rate": phase.effective_learning_rate,
        },
        altered(job.spec, learning_rate=rate / 10) if phase == phase_at(job.spec, 0) else None,
    )
