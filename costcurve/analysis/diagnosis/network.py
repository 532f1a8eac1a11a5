"""Diagnosis of a network that learns MNIST: the cause that appears first, and remarks."""

from collections.abc import Callable, Iterator, Sequence

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding, diagnosis_of
from costcurve.analysis.diagnosis.output_causes import lost_class, output_saturated, output_stays_saturated
from costcurve.analysis.diagnosis.rate_causes import (
    diverged,
    learning_rate_large,
    learning_rate_small,
    rate_is_likeliest,
    too_few_updates,
)
from costcurve.analysis.diagnosis.remarks import loss_makes_no_difference, plateau, saturated_but_learning
from costcurve.analysis.diagnosis.start_causes import (
    hidden_layer_slow,
    layer_too_narrow,
    start_not_finite,
    symmetric_init,
)
from costcurve.analysis.diagnosis.thresholds import GAP, LEAST_UPDATES
from costcurve.analysis.diagnosis.training_course import NetworkCourse, missing

Cause = Callable[[NetworkCourse], Iterator[Finding]]

# Causes by when they appear. The first one that holds is the finding: what comes after it can be its effect.
_BEFORE_TRAINING: Sequence[Cause] = (start_not_finite, symmetric_init, diverged)
_IN_TRAINING: Sequence[Cause] = (
    layer_too_narrow,
    output_saturated,
    hidden_layer_slow,
    too_few_updates,
    learning_rate_large,
    learning_rate_small,
    output_stays_saturated,
    lost_class,
    rate_is_likeliest,
)


def diagnose_network(course: NetworkCourse) -> Diagnosis:
    """Return the diagnosis of a network's training up to the latest epoch."""
    causes = _first(_BEFORE_TRAINING, course)
    if causes and causes[0].code == "start_not_finite":
        return diagnosis_of(causes, otherwise="")
    if not course.points:
        return diagnosis_of(causes, otherwise="Nothing is recorded yet: no epoch has ended.")
    if not causes and course.updates >= min(LEAST_UPDATES, course.spec.total_steps):
        causes = _first(_IN_TRAINING, course)
    remarks = [*plateau(course, "info" if causes else "warning"), *saturated_but_learning(course)]
    if not causes:
        remarks += loss_makes_no_difference(course)
    found = diagnosis_of([*causes, *remarks], otherwise="")
    if any(finding.severity != "info" for finding in found.findings):
        return found
    return Diagnosis(f"{_nothing(course)} {found.summary}".strip(), found.findings)


def _first(causes: Sequence[Cause], course: NetworkCourse) -> list[Finding]:
    """Return the finding of the first cause that holds; an empty list if none does."""
    for cause in causes:
        if found := list(cause(course)):
            return found
    return []


def _nothing(course: NetworkCourse) -> str:
    best = max(course.accuracies)
    if course.gap < GAP:
        return f"Nothing stands out: the best accuracy is {best:.2%}, about what can be expected."
    return f"No cause was found. {missing(course)}"
