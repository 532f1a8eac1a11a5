"""Causes in how a network is trained: its learning rate, and the number of its updates."""

from collections.abc import Iterator

from costcurve.analysis.diagnosis.findings import Confidence, Finding, figure
from costcurve.analysis.diagnosis.network_repairs import longer_repair, sound_rate_repair
from costcurve.analysis.diagnosis.thresholds import (
    FEW_BUT_LARGE,
    FEW_BUT_SMALL,
    FEW_UPDATES,
    GAP,
    LARGE_RATE,
    RATHER_LARGE,
    RATHER_SMALL,
    SMALL_RATE,
)
from costcurve.analysis.diagnosis.training_course import NetworkCourse, missing


def diverged(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the training failed because a metric was no longer finite."""
    if course.failure is None or not course.has_failed:
        return
    yield Finding(
        "diverged",
        "error",
        f"The training diverged in epoch {len(course.points)}: a figure was no longer finite.",
        f"The updates were too large to recover from. {_rates(course)} A smaller rate would test this.",
        {"message": course.failure.message, "epoch": len(course.points), **_evidence(course)},
        sound_rate_repair(course),
        "certain",
    )


def too_few_updates(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the whole job makes too few updates to learn, at any rate that is not far too large."""
    updates, ratio = course.spec.total_steps, course.rate_ratio
    if updates >= FEW_UPDATES or ratio >= FEW_BUT_LARGE or course.expected_with_more - course.latest < GAP:
        return
    if updates >= FEW_UPDATES / 2 and ratio < FEW_BUT_SMALL:
        return
    spec = course.spec
    images = updates * spec.batch_size
    repair = longer_repair(course)
    smaller = any(change.field == "batch_size" for change in repair.changes)
    yield Finding(
        "too_few_updates",
        "warning",
        f"The job makes only {updates:,} updates, too few to learn ten digits well.",
        f"The accuracy is {course.latest:.1%}, where about {course.expected_with_more:.0%} can be expected after more "
        f"updates. {images:,} images are read, {spec.batch_size:,} for each update. "
        + ("Smaller batches" if smaller else "More updates")
        + " would test this.",
        {"updates": updates, "batch_size": spec.batch_size, **_evidence(course)},
        repair,
        "high" if updates < FEW_UPDATES / 2 else "low",
    )


def learning_rate_large(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the rate is far above the sound one, and accuracy is missing."""
    if course.gap >= GAP and course.rate_ratio >= LARGE_RATE:
        yield _large(course, "high" if course.rate_ratio >= 2 * LARGE_RATE else "low")


def learning_rate_small(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the rate is far below the sound one, and accuracy is missing."""
    if course.gap >= GAP and course.rate_ratio <= SMALL_RATE:
        yield _small(course, "high" if course.rate_ratio <= SMALL_RATE / 3 else "low")


def rate_is_likeliest(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if accuracy is missing, nothing else explains it, and the rate is not the sound one."""
    if course.gap < GAP:
        return
    if course.rate_ratio >= RATHER_LARGE:
        yield _large(course, "low")
    elif course.rate_ratio <= RATHER_SMALL:
        yield _small(course, "low")


def _large(course: NetworkCourse, confidence: Confidence) -> Finding:
    return Finding(
        "learning_rate_large",
        "warning",
        f"The learning rate is too large: about {figure(course.rate_ratio)} times what suits this network.",
        f"{missing(course)} {_rates(course)} Updates that are too large overshoot, and saturate units. A smaller rate "
        "would test this.",
        {**_evidence(course), **course.shortfall},
        sound_rate_repair(course),
        confidence,
    )


def _small(course: NetworkCourse, confidence: Confidence) -> Finding:
    return Finding(
        "learning_rate_small",
        "warning",
        f"The learning rate is too small: about 1/{figure(1 / course.rate_ratio)} of what suits this network.",
        f"{missing(course)} {_rates(course)} A larger rate would test this.",
        {**_evidence(course), **course.shortfall},
        sound_rate_repair(course),
        confidence,
    )


def _rates(course: NetworkCourse) -> str:
    return (
        f"The effective learning rate is {course.spec.effective_learning_rate:.3g}; about {course.sound_rate:.2g} "
        "suits a network of this shape, start, loss and batch size."
    )


def _evidence(course: NetworkCourse) -> dict[str, float]:
    return {
        "learning_rate": course.spec.learning_rate,
        "effective_learning_rate": course.spec.effective_learning_rate,
        "sound_effective_learning_rate": course.sound_rate,
    }
