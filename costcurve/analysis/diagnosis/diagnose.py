"""Diagnosis of one job from what is recorded about it."""

from collections.abc import Iterable, Iterator

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding
from costcurve.analysis.diagnosis.network import diagnose_network
from costcurve.analysis.diagnosis.neuron import NEURON_DIAGNOSED, diagnose_neuron
from costcurve.analysis.diagnosis.training_course import NetworkCourse, Point
from costcurve.core.curve import Curve
from costcurve.core.errors import Diverged
from costcurve.core.job import Failure, Job
from costcurve.core.losses import ARTICLE_LOSSES, loss_named
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec, phase_at

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
    change = min((each.from_epoch for each in job.spec.schedule), default=None)
    if change is None:
        return _of_phase(job, job.spec, start, chunks, job.error)
    fails_later = job.error is not None and job.progress.epoch >= change
    before = [chunk.between(0, change - 1) for chunk in chunks]
    found = _of_phase(job, phase_at(job.spec, 0), start, before, None if fails_later else job.error)
    summary = f"Before the schedule's first change, at {job.spec.epoch_name} {change:,}: {found.summary}"
    later = list(_diverged_later(job)) if fails_later else []
    return Diagnosis(" ".join([*(each.headline for each in later), summary]), [*later, *found.findings])


def _of_phase(
    job: Job, spec: AnySpec, start: Point | None, chunks: Iterable[Curve], failure: Failure | None
) -> Diagnosis:
    if spec.loss not in ARTICLE_LOSSES:
        known = " and ".join(loss_named(loss).label for loss in ARTICLE_LOSSES)
        return Diagnosis(
            f"A training with the loss {spec.loss} is not diagnosed: the rules were measured with {known} only. What "
            "is recorded of it is in its curve.",
            (),
        )
    if isinstance(spec, NeuronSpec):
        return diagnose_neuron(spec, chunks, failure)
    curve = Curve.joined(chunks)
    if len(curve) and "slowdown_factor" not in curve.series:
        return Diagnosis(NOT_RECORDED, ())
    return diagnose_network(NetworkCourse.of(spec, start, curve, is_over=job.is_terminal, failure=failure))


def _diverged_later(job: Job) -> Iterator[Finding]:
    """Yield a finding if the training diverged after a change of its schedule."""
    if job.error is None or job.error.code != Diverged.code:
        return
    phase = phase_at(job.spec, job.progress.epoch)
    yield Finding(
        "diverged",
        "error",
        f"The training diverged in epoch {job.progress.epoch:,}: a figure was no longer finite.",
        f"The updates were too large to recover from. The learning rate was {phase.learning_rate:g} then (effectively "
        f"{phase.effective_learning_rate:g}).",
        {
            "message": job.error.message,
            "step": job.progress.step,
            "epoch": job.progress.epoch,
            "learning_rate": phase.learning_rate,
            "effective_learning_rate": phase.effective_learning_rate,
        },
        confidence="certain",
    )


def course_of(job: Job, spec: MnistSpec, start: Point | None, curve: Curve) -> NetworkCourse:
    """Return the course of a network's training."""
    return NetworkCourse.of(spec, start, curve, is_over=job.is_terminal, failure=job.error)
