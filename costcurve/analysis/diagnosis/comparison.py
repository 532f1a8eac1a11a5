"""Comparison of several trainings: why their results differ, or do not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding, figure
from costcurve.analysis.diagnosis.repair import Repair, changes_between, isolated
from costcurve.analysis.diagnosis.thresholds import ACCURACY_DIFFERENCE, MARK, MARK_EPOCHS
from costcurve.analysis.diagnosis.training_course import NetworkCourse, is_stuck
from costcurve.core.losses import ARTICLE_LOSSES
from costcurve.core.spec import AnySpec
from costcurve.core.spec_diff import altered

# The loss, and the fields that set the rate at which it is trained.
_LOSS_AND_RATE = {"loss", "reduction", "learning_rate", "effective_learning_rate"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the compared jobs: its id, spec and course.

    `course` is that of its network. It is None for a neuron, and if nothing is recorded.
    """

    id: str
    spec: AnySpec
    course: NetworkCourse | None


def compare(jobs: Sequence[Compared]) -> Diagnosis:
    """Return findings about the differences between the specs, pair by pair."""
    pairs = list(combinations(jobs, 2))
    findings = [finding for pair in pairs for finding in (*_loss(*pair), *_rates(*pair))]
    said = " ".join(dict.fromkeys(finding.headline for finding in findings))
    return Diagnosis(said or "Nothing stands out between these jobs.", findings)


def _rates(one: Compared, other: Compared) -> Iterator[Finding]:
    """Yield a finding if equal learning rates are effectively different.

    Averaging the cost over the outputs divides the rate by their number.
    """
    rates = one.spec.effective_learning_rate, other.spec.effective_learning_rate
    if one.spec.learning_rate != other.spec.learning_rate or rates[0] == rates[1]:
        return
    faster, slower = (one, other) if rates[0] > rates[1] else (other, one)
    matched = altered(faster.spec, learning_rate=slower.spec.effective_learning_rate)
    yield Finding(
        "learning_rate_not_comparable",
        "warning",
        f"The learning rate is {one.spec.learning_rate:g} in both jobs, but their effective learning rates differ.",
        f"{slower.id} averages the cost over the outputs, and {faster.id} sums it: the effective learning rates are "
        f"{slower.spec.effective_learning_rate:g} and {faster.spec.effective_learning_rate:g}. A difference between "
        "these jobs may come from the rate and not from the loss.",
        {
            "jobs": [one.id, other.id],
            "learning_rate": one.spec.learning_rate,
            "reduction": [one.spec.reduction, other.spec.reduction],
            "effective_learning_rate": list(rates),
        },
        Repair(matched, () if matched is None else changes_between(faster.spec, matched), matched),
    )


def _loss(one: Compared, other: Compared) -> Iterator[Finding]:
    """Yield findings about two networks that differ in the article's losses, and in nothing but their rates.

    The loss alone differs if the effective rates are equal, too.
    """
    if one.course is None or other.course is None or not _differ_in_loss_and_rate(one.spec, other.spec):
        return
    if {one.spec.loss, other.spec.loss} != {*ARTICLE_LOSSES}:
        return
    alone = one.spec.effective_learning_rate == other.spec.effective_learning_rate
    quadratic, cross_entropy = (one, other) if one.spec.loss == "quadratic" else (other, one)
    courses = [each.course for each in (quadratic, cross_entropy) if each.course is not None]
    if not all(course.points for course in courses):
        return
    best = [max(course.accuracies) for course in courses]
    marks = [_reaches_mark(course) for course in courses]
    stuck = courses[0].longest(is_stuck)
    evidence = {
        "jobs": [quadratic.id, cross_entropy.id],
        "best_accuracy": dict(zip(ARTICLE_LOSSES, best, strict=True)),
        "epoch_of_90_percent": dict(zip(ARTICLE_LOSSES, marks, strict=True)),
        "slowdown_factor_at_start": courses[0].start and courses[0].start["slowdown_factor"],
        "epochs_stuck": None if stuck is None else [stuck.first, stuck.last],
    }
    if stuck is not None and _is_sooner(marks[1], marks[0]):
        yield Finding(
            "loss_makes_the_difference" if alone else "loss_and_rate_make_the_difference",
            "info",
            f"Cross-entropy reaches an accuracy of {MARK:.0%} after epoch {marks[1]}; the quadratic loss "
            + (f"only after epoch {marks[0]}." if marks[0] is not None else "has not reached it."),
            f"Both start badly wrong. From epoch {stuck.first} to epoch {stuck.last} the quadratic loss multiplied the "
            "errors of saturated outputs by a tiny σ′(z). Cross-entropy does not. "
            + _what_differs(quadratic, cross_entropy),
            evidence,
        )
    elif stuck is None and courses[0].starts_stuck is False and abs(best[0] - best[1]) < ACCURACY_DIFFERENCE:
        factor = courses[0].start["slowdown_factor"] if courses[0].start is not None else float("nan")
        yield Finding(
            "loss_makes_no_difference" if alone else "loss_and_rate_make_no_difference",
            "info",
            f"{'The loss makes' if alone else 'The loss and its rate make'} no difference here: the best accuracy is "
            f"{best[0]:.2%} with the quadratic loss and {best[1]:.2%} with cross-entropy.",
            "The start is not badly wrong. Cross-entropy helps only where outputs are saturated and wrong. At the "
            f"start its mean |δ| is {figure(factor)} times that of the quadratic loss, as in any network that learns "
            f"well. No epoch was lost to saturation with either loss. {_what_differs(quadratic, cross_entropy)}",
            evidence,
            isolated(quadratic.spec, init={"scheme": "normal", "output_bias": 10.0}),
        )


def _differ_in_loss_and_rate(one: AnySpec, other: AnySpec) -> bool:
    fields, others = one.model_dump(), other.model_dump()
    differing = {name for name in fields.keys() | others.keys() if fields.get(name) != others.get(name)}
    return "loss" in differing and differing <= _LOSS_AND_RATE and not one.schedule


def _what_differs(quadratic: Compared, cross_entropy: Compared) -> str:
    rates = quadratic.spec.effective_learning_rate, cross_entropy.spec.effective_learning_rate
    if rates[0] == rates[1]:
        return f"The loss alone differs: the effective learning rate is {rates[0]:g} in both."
    return (
        f"The loss is not all that differs: the effective learning rate is {rates[0]:g} with the quadratic loss and "
        f"{rates[1]:g} with cross-entropy."
    )


def _reaches_mark(course: NetworkCourse) -> int | None:
    return next((epoch for epoch, accuracy in enumerate(course.accuracies) if accuracy >= MARK), None)


def _is_sooner(one: int | None, other: int | None) -> bool:
    return one is not None and (other is None or other - one >= MARK_EPOCHS)
