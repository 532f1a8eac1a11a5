"""Causes at the output of a network: outputs saturated where they are wrong, and digits that are never read."""

from collections.abc import Iterator
from math import inf

from costcurve.analysis.diagnosis.findings import Confidence, Finding, figure
from costcurve.analysis.diagnosis.network_repairs import (
    loss_repair,
    output_bias_repair,
    output_init_repair,
    sound_rate_repair,
)
from costcurve.analysis.diagnosis.repair import Repair
from costcurve.analysis.diagnosis.start_causes import starts_slow
from costcurve.analysis.diagnosis.thresholds import (
    BEYOND_HIDDEN_SLOWDOWN,
    COURSE_GAP,
    COURSE_SLOWDOWN,
    COURSE_START_SLOWDOWN,
    COURSE_UPDATES,
    GAP,
    GUESSED,
    LARGE_RATE,
    LONG_ENOUGH_FOR_LOSS,
    LOST_CLASS,
    STANDING_STILL,
    START_SLOWDOWN,
)
from costcurve.analysis.diagnosis.training_course import NetworkCourse, Stretch, epochs_of, is_stuck, missing
from costcurve.core.initializers import NormalInit
from costcurve.core.losses import ARTICLE_LOSSES
from costcurve.core.spec import TEST_IMAGES


def output_saturated(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the outputs start saturated where they are wrong, the loss is quadratic, and it shows.

    It shows if accuracy is missing, or if the network stood on a plateau before it learned.
    """
    if course.spec.loss != "quadratic" or course.start is None or (course.gap < GAP and course.plateau is None):
        return
    factor = course.start["slowdown_factor"]
    if factor < START_SLOWDOWN or (factor < BEYOND_HIDDEN_SLOWDOWN and starts_slow(course.start)):
        return
    yield _saturated(course, "high" if factor >= BEYOND_HIDDEN_SLOWDOWN else "low")


def output_stays_saturated(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if outputs start nearly saturated where they are wrong, and stay so, with the quadratic loss."""
    if course.spec.loss != "quadratic" or course.start is None or course.gap < COURSE_GAP:
        return
    starts, stays = course.start["slowdown_factor"], min(point["slowdown_factor"] for point in course.points)
    is_long = course.updates >= COURSE_UPDATES and course.rate_ratio < LARGE_RATE
    if starts >= COURSE_START_SLOWDOWN and stays >= COURSE_SLOWDOWN and is_long:
        yield _saturated(course, "low")


def lost_class(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if a digit is hardly ever read by a network that reads others.

    Jobs of an older version have no such metric.
    """
    latest = course.points[-1]
    least = latest.get("least_class_accuracy")
    if least is None or least > LOST_CLASS or latest["accuracy"] < GUESSED or course.gap < GAP:
        return
    first = next(
        place
        for place in range(len(course.points) - 1, -1, -1)
        if place == 0 or course.points[place - 1]["least_class_accuracy"] > LOST_CLASS
    )
    stretch = Stretch(first, len(course.points) - 1)
    is_quadratic = course.spec.loss == "quadratic"
    yield Finding(
        "lost_class",
        "warning",
        f"{course.span(stretch)} a digit was hardly ever read: {least:.1%} of its test images at the end.",
        f"{missing(course)} The output of this digit stays near 0 on its own images. "
        + (
            "There the quadratic loss multiplies its error by a σ′(z) near 0, so it hardly learns. Cross-entropy at a "
            "smaller rate would test this."
            if is_quadratic
            else "A smaller learning rate would test this."
        ),
        {**epochs_of(course, stretch), "least_class_accuracy": least, **course.shortfall},
        loss_repair(course) if is_quadratic else sound_rate_repair(course),
        "high" if is_quadratic else "low",
    )


def _saturated(course: NetworkCourse, confidence: Confidence) -> Finding:
    stretch = course.longest(is_stuck) or Stretch(0, 0)
    first, last = (course.points[epoch]["correct"] for epoch in (stretch.first, stretch.last))
    deltas, gradients = (
        {loss: course.mean(f"{figures}.{loss}", stretch) for loss in ARTICLE_LOSSES}
        for figures in ("output_delta", "output_gradient_norm")
    )
    factor = deltas["cross_entropy"] / deltas["quadratic"] if deltas["quadratic"] else inf
    starts = course.start["slowdown_factor"] if course.start is not None else None
    speed = "stood still" if last - first < STANDING_STILL * TEST_IMAGES else "was slow"
    repair, change = _repair(course)
    return Finding(
        "output_saturated_quadratic",
        "warning",
        f"{course.span(stretch)} learning {speed} at the output: units that are badly wrong are saturated.",
        f"{missing(course)} Of {TEST_IMAGES:,} test images {first:,.0f} were read correctly after the first of these "
        f"epochs and {last:,.0f} after the last. The quadratic loss multiplies each error by σ′(z), which is tiny "
        f"there. The mean |δ| at the output was {figure(deltas['quadratic'])}; with cross-entropy it would have been "
        f"{figure(deltas['cross_entropy'])} at the same weights, {figure(factor)} times as much. The norm of the "
        f"output layer's gradient was {figure(gradients['quadratic'])}; with cross-entropy it would have been "
        f"{figure(gradients['cross_entropy'])}. {change} would test this.",
        {
            **epochs_of(course, stretch),
            "correct": {"first": first, "last": last},
            "slowdown_factor": factor,
            "slowdown_factor_at_start": starts,
            "output_delta": deltas,
            "output_gradient_norm": gradients,
            **course.shortfall,
        },
        repair,
        confidence,
    )


def _repair(course: NetworkCourse) -> tuple[Repair, str]:
    """Return the repair of saturated outputs, and its name.

    Cross-entropy keeps such outputs learning, but needs some thousand updates to undo the start. A shorter job gets
    the start undone where the spec asked for it.
    """
    init = course.spec.init
    if course.spec.total_steps < LONG_ENOUGH_FOR_LOSS:
        if init.output_bias:
            return output_bias_repair(course), "An output bias of 0"
        if isinstance(init, NormalInit) and init.layer_std(len(course.spec.layers) - 1) > 1:
            return output_init_repair(course, init), "A smaller init of the output layer"
    return loss_repair(course), "Cross-entropy, at a rate that suits it,"
