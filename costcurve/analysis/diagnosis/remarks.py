"""Remarks on a network's training that are no causes: plateaus, and what the loss does or does not do there."""

from collections.abc import Iterator
from itertools import accumulate

from costcurve.analysis.diagnosis.findings import Finding, Severity, figure
from costcurve.analysis.diagnosis.network_repairs import other_loss_test
from costcurve.analysis.diagnosis.repair import isolated
from costcurve.analysis.diagnosis.thresholds import (
    COURSE_START_SLOWDOWN,
    GAP,
    GUESSED,
    LINEAR_CLASSIFIER,
    MOSTLY_SATURATED,
    STANDING_STILL,
)
from costcurve.analysis.diagnosis.training_course import NetworkCourse, epochs_of, is_stuck
from costcurve.core.losses import ARTICLE_LOSSES


def plateau(course: NetworkCourse, severity: Severity) -> Iterator[Finding]:
    """Yield a finding for the longest stretch in which hardly anything was learned.

    Its length is counted in updates, so that it does not depend on what an epoch is.
    """
    stretch = course.plateau
    if stretch is None:
        return
    best = list(accumulate(course.accuracies, max))
    updates = course.updates_between(stretch)
    first, last = best[stretch.first], best[stretch.last]
    yield Finding(
        "plateau",
        severity,
        f"{course.span(stretch)} {updates:,} updates added less than {STANDING_STILL:.0%} to the best accuracy.",
        f"The best accuracy was {first:.2%} after the first of these epochs and {last:.2%} after the last. A linear "
        f"classifier reaches {LINEAR_CLASSIFIER:.0%}: the network has more to learn, but does not learn it.",
        {**epochs_of(course, stretch), "updates": updates, "best_accuracy": {"first": first, "last": last}},
        confidence="certain",
    )


def saturated_but_learning(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the network learns with saturated outputs.

    This is the article's third remark: cross-entropy does not prevent saturation, it keeps a saturated output learning.
    """
    if course.spec.loss != "cross_entropy":
        return
    metric = f"saturated_fraction.{len(course.spec.layers) - 1}"
    accuracies = course.accuracies
    if course.starts_stuck and course.start is not None and accuracies[-1] >= LINEAR_CLASSIFIER:
        yield Finding(
            "saturated_but_learning",
            "info",
            "Outputs that are badly wrong start saturated, but the network learns.",
            f"{course.start[metric]:.0%} of the outputs are saturated before the first update; after epoch 0 the "
            f"accuracy is {accuracies[0]:.2%}. Cross-entropy's δ, a − y, does not contain σ′(z). The quadratic loss's "
            f"mean |δ| would have been {figure(course.start['slowdown_factor'])} times smaller at the start.",
            {
                "saturated_fraction": {"start": course.start[metric], "end": course.points[-1][metric]},
                "slowdown_factor_at_start": course.start["slowdown_factor"],
                "accuracy": {"first": accuracies[0], "last": accuracies[-1]},
            },
            isolated(course.spec, loss="quadratic"),
        )
        return
    stretch = course.longest(lambda point: point[metric] >= MOSTLY_SATURATED)
    if stretch is None or (gained := max(accuracies) - accuracies[stretch.first]) < STANDING_STILL:
        return
    if max(accuracies) < GUESSED:
        return
    yield Finding(
        "saturated_but_learning",
        "info",
        f"{course.span(stretch)} most outputs were saturated, but the network continued to learn.",
        f"On average {course.mean(metric, stretch):.0%} of them had σ′(z) < 0.01. The best accuracy is {gained:.2%} "
        f"above that after epoch {stretch.first}. Cross-entropy does not prevent saturation. A saturated output that "
        "is right has nothing more to learn. One that is wrong continues to learn, because δ = a − y does not contain "
        "σ′(z).",
        {
            **epochs_of(course, stretch),
            "saturated_fraction": course.mean(metric, stretch),
            "accuracy": {"first": accuracies[stretch.first], "best": max(accuracies)},
        },
    )


def loss_makes_no_difference(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if nothing recorded speaks for the other loss.

    It is not said of a network that misses accuracy, or whose outputs start more saturated than those of most.
    """
    if course.spec.loss not in ARTICLE_LOSSES or course.start is None:
        return
    if course.gap >= GAP or course.longest(is_stuck) is not None:
        return
    factor = course.start["slowdown_factor"]
    if factor >= COURSE_START_SLOWDOWN:
        return
    yield Finding(
        "loss_makes_no_difference",
        "info",
        "The start is not badly wrong: nothing speaks for the other loss, at a rate that suits it.",
        f"At the start cross-entropy's mean |δ| at the output is {figure(factor)} times that of the quadratic loss, "
        "as in any network that learns well: at the same effective rate its updates are that much larger, which acts "
        "like another rate. The outputs are never saturated where they are wrong, and the loss matters only there. The "
        "other loss would test this.",
        {
            "slowdown_factor_at_start": factor,
            "output_error_at_start": course.start["output_delta.cross_entropy"],
            "largest_slowdown_factor": max([factor, *(point["slowdown_factor"] for point in course.points)]),
        },
        other_loss_test(course),
        "low",
    )
