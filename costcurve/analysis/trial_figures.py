"""The figures by which a trial is judged, and what a sound training attains of each.

Of a network it is the accuracy on the test images, of a neuron the distance |a − y| of its output from the target: at
the end of the training, and on average over its course.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from costcurve.analysis.diagnosis.expected_accuracy import expected_accuracy
from costcurve.analysis.sweep_ranking import figures_of
from costcurve.analysis.trial_verdict import CHANCE_ACCURACY, Measure, Run
from costcurve.core.curve import Curve
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec

# The metric of the curve whose mean over the course is judged, by experiment.
COURSE_METRICS: Mapping[str, str] = {"mnist": "accuracy", "neuron": "output"}


def measures_of(as_it_is: AnySpec, changed: AnySpec) -> tuple[Measure, Measure | None]:
    """Return the measure of the end of a training and that of its course.

    That of the course is None if an equal number of epochs does not stand for an equal number of updates, and for a
    single epoch, whose mean is its end. A network attains what the better one of the two specs is expected to reach: a
    change may make it wider or train it longer. A neuron attains its target, at best at once.
    """
    has_course = 1 < as_it_is.epochs == changed.epochs and as_it_is.total_steps == changed.total_steps
    if isinstance(as_it_is, NeuronSpec):
        farthest = max(as_it_is.target, 1 - as_it_is.target)
        end, course = (Measure(metric, 0.0, farthest) for metric in ("target_distance", "mean_target_distance"))
    else:
        networks = [spec for spec in (as_it_is, changed) if isinstance(spec, MnistSpec)]
        reached = max(expected_accuracy(spec, spec.total_steps) for spec in networks)
        on_average = max(fmean(_expected_course(spec)) for spec in networks)
        end, course = (
            Measure("final_accuracy", reached, CHANCE_ACCURACY),
            Measure("mean_accuracy", on_average, CHANCE_ACCURACY),
        )
    return end, course if has_course else None


def run_of(spec: AnySpec, result: Mapping[str, Any], course: Curve | None) -> Run:
    """Return a run that has succeeded.

    Args:
        spec: its spec.
        result: its result, as stored.
        course: its curve, with the metric of COURSE_METRICS; None if it is not to be judged.
    """
    if isinstance(spec, NeuronSpec):
        return Run(figures_of(result, spec.target)["target_distance"], mean=_mean_distance(spec, course))
    return Run(figures_of(result, None)["final_accuracy"], mean=_mean_accuracy(spec, course))


def _expected_course(spec: MnistSpec) -> list[float]:
    """Return the accuracies that a sound training is expected to have after each of its epochs."""
    return [expected_accuracy(spec, (epoch + 1) * spec.steps_per_epoch) for epoch in range(spec.epochs)]


def _mean_accuracy(spec: MnistSpec, course: Curve | None) -> float | None:
    """Return the mean accuracy over all epochs; None if it was not recorded.

    A training that stopped early keeps its network: the last accuracy stands for the epochs that it left out.
    """
    accuracies = [] if course is None else course.series.get(COURSE_METRICS["mnist"], [])
    if not accuracies:
        return None
    return (sum(accuracies) + (spec.epochs - len(accuracies)) * accuracies[-1]) / spec.epochs


def _mean_distance(spec: NeuronSpec, course: Curve | None) -> float | None:
    """Return the mean distance of the output from the target after each update; None if it was not recorded."""
    outputs = [] if course is None else course.series.get(COURSE_METRICS["neuron"], [])[1:]
    return fmean(abs(output - spec.target) for output in outputs) if len(outputs) == spec.epochs else None
