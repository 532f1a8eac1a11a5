"""Diagnosis of a training of one sigmoid neuron: exact, as its whole state is recorded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import isfinite

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding, diagnosis_of, figure
from costcurve.analysis.diagnosis.neuron_course import NeuronCourse, quadratic_delta
from costcurve.analysis.diagnosis.repair import Repair, isolated, repaired
from costcurve.analysis.diagnosis.thresholds import (
    FEW_NEURON_UPDATES,
    LEARNED,
    NEGLIGIBLE,
    SIMULATED_UPDATES,
    SLOWDOWN,
    WELL_LEARNED,
    WRONG_OUTPUT,
)
from costcurve.core.curve import Curve
from costcurve.core.errors import Diverged, StartNotFinite
from costcurve.core.initializers import ConstantInit
from costcurve.core.job import Failure
from costcurve.core.losses import Loss
from costcurve.core.spec import NeuronSpec
from costcurve.core.spec_diff import own_fields

# The metrics that a diagnosis reads.
NEURON_DIAGNOSED = ("output", "sigmoid_prime")
# Factors of a rate that are tried for a repair, in this order.
_SMALLER = (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-6, 1e-9)
_LARGER = (3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e6, 1e9)
# The rate times x² + 1 of the default job.
_ORDINARY_STEP = 0.3
# An input with a larger size can leave the range of float64.
_LARGE_INPUT = 100.0


def diagnose_neuron(spec: NeuronSpec, chunks: Iterable[Curve], failure: Failure | None = None) -> Diagnosis:
    """Return the diagnosis of a neuron from its curve.

    `chunks` are consecutive chunks of the curve with NEURON_DIAGNOSED. Each is read once. `failure` is the error of a
    job that failed.
    """
    course = NeuronCourse(spec, chunks)
    if found := list(_start_not_finite(course, failure)):
        return diagnosis_of(found, otherwise="")
    found = [*_diverged(course, failure)]
    if not course.updates_seen:
        return diagnosis_of(found, otherwise="Nothing is recorded yet: the neuron has not been trained.")
    for cause in () if found else _CAUSES:
        found += cause(course)
        if found:
            break
    start, end = course.first_output, course.last_output
    return diagnosis_of(
        [*found, *_plateau(course), *_saturated_but_learning(course)],
        otherwise=f"Nothing stands out: the output went from {start:.3g} to {end:.3g}, and the slowdown factor at the "
        f"start was {figure(course.first_slowdown)}.",
    )


def _start_not_finite(course: NeuronCourse, failure: Failure | None) -> Iterator[Finding]:
    is_recorded = course.updates_seen > 0 and not isfinite(course.first_output)
    if not is_recorded and (failure is None or failure.code != StartNotFinite.code):
        return
    changes = {"input": 1.0} if abs(course.spec.input) > _LARGE_INPUT else {}
    yield Finding(
        "start_not_finite",
        "error",
        "The start is not finite: initial weights, or values computed from them, exceed the range of float64.",
        "No meaningful update was made, so the learning rate is not to blame. The largest float64 number is 1.8e308; "
        f"the init is {own_fields(course.spec).get('init', 'the default')} and the input {course.spec.input:g}. A "
        "smaller init, or a smaller input, would test this.",
        {"message": failure.message if failure is not None else None, "init": course.spec.init.model_dump(mode="json")},
        repaired(course.spec, init=ConstantInit().model_dump(mode="json"), **changes),
        "certain",
    )


def _diverged(course: NeuronCourse, failure: Failure | None) -> Iterator[Finding]:
    if failure is None or failure.code != Diverged.code:
        return
    spec = course.spec
    yield Finding(
        "diverged",
        "error",
        f"The training diverged after update {max(course.last_update, 0):,}: a figure was no longer finite.",
        f"The updates were too large to recover from. The learning rate is {spec.learning_rate:g}. A smaller rate "
        "would test this.",
        {"message": failure.message, "learning_rate": spec.learning_rate},
        repaired(spec, _ORDINARY_STEP / (spec.input**2 + 1)),
        "certain",
    )


def _dead_input(course: NeuronCourse) -> Iterator[Finding]:
    if course.spec.input != 0:
        return
    yield Finding(
        "dead_input",
        "info" if course.has_learned else "warning",
        "The input is 0, so the weight never changes: only the bias can learn.",
        f"The gradient of the weight is the input times δ, 0 in every update with either loss. The output went from "
        f"{course.first_output:.4g} to {course.last_output:.4g}; the target is {course.spec.target:.4g}. An input of 1 "
        "would test this.",
        {"input": 0.0, "output": course.last_output, "target": course.spec.target},
        _input_repair(course),
        "certain",
    )


def _output_saturated(course: NeuronCourse) -> Iterator[Finding]:
    if not _starts_stuck(course) or course.spec.loss != "quadratic":
        return
    until, last = course.unstuck_at, course.last_update
    to_update = last if until is None else until - 1
    if until is not None and until < NEGLIGIBLE * last:
        return
    span = f"to update {to_update:,}" if until is not None else f"to the latest, update {last:,},"
    gradients = _gradients(course)
    yield Finding(
        "output_saturated_quadratic",
        "warning",
        f"From update 0 {span} the output is saturated where it is badly wrong; the quadratic loss learns slowly.",
        f"At the start the output is {course.first_output:.4g} and the target {course.spec.target:.4g}. The quadratic "
        f"loss multiplies this error by σ′(z) = {1 / course.first_slowdown:.3g}. Its gradient is "
        f"{gradients['quadratic']:.3g}; with cross-entropy it would have been {gradients['cross_entropy']:.3g}, "
        f"{figure(course.first_slowdown)} times as much. Cross-entropy would test this.",
        _evidence(course),
        _loss_repair(course),
        "certain",
    )


def _learning_rate_large(course: NeuronCourse) -> Iterator[Finding]:
    if course.has_learned or course.overshot_at is None:
        return
    yield Finding(
        "learning_rate_large",
        "warning",
        f"The learning rate is too large: update {course.overshot_at:,} carried the output past its target.",
        f"The output started at {course.first_output:.4g} and is {course.last_output:.4g} after update "
        f"{course.last_update:,}; the target is {course.spec.target:.4g}. A smaller rate would test this.",
        {"overshot_at": course.overshot_at, "output": course.last_output, "learning_rate": course.spec.learning_rate},
        _rate_repair(course, _SMALLER),
        "certain",
    )


def _learns_too_little(course: NeuronCourse) -> Iterator[Finding]:
    """Yield a finding if the neuron is on its way, but makes too few updates or too small ones."""
    spec, last = course.spec, course.last_update
    if course.has_learned or course.overshot_at is not None or last < spec.epochs:
        return
    way = (
        f"The output went from {course.first_output:.4g} to {course.last_output:.4g} in {last:,} updates; the target "
        f"is {spec.target:.4g}."
    )
    evidence = {"updates": last, "output": course.last_output, "share_learned": course.share_learned}
    longer = next((times * last for times in (3, 10, 30, 100) if _learns(course, updates=times * last)), None)
    if longer is not None and last < FEW_NEURON_UPDATES:
        yield Finding(
            "too_few_updates",
            "warning",
            f"The job makes only {last:,} updates, too few to reach the target.",
            f"{way} {longer:,} updates would test this.",
            evidence,
            repaired(spec, epochs=longer),
            "certain",
        )
        return
    repair = _rate_repair(course, _LARGER)
    if repair.fields is None:
        return
    yield Finding(
        "learning_rate_small",
        "warning",
        f"The learning rate is too small: {course.share_learned:.0%} of the way to the target is made.",
        f"{way} The learning rate is {spec.learning_rate:g}. A larger rate would test this.",
        {**evidence, "learning_rate": spec.learning_rate},
        repair,
        "certain",
    )


# Causes by when they appear. The first one that holds is the finding.
_CAUSES: Sequence[Callable[[NeuronCourse], Iterator[Finding]]] = (
    _dead_input,
    _output_saturated,
    _learning_rate_large,
    _learns_too_little,
)


def _plateau(course: NeuronCourse) -> Iterator[Finding]:
    """Yield a finding if the quadratic loss starts on a plateau.

    Beyond the peak of its gradient, learning is slow first and speeds up as the output approaches the peak.
    """
    last, left_at = course.last_update, course.gradient_at
    if course.spec.loss != "quadratic" or course.peak_at == 0:
        return
    if left_at is not None and left_at <= NEGLIGIBLE * last:
        return
    span = (
        f"From update 0 to update {left_at:,}"
        if left_at is not None
        else f"From update 0 to the latest, update {last:,},"
    )
    start, peak = (abs(quadratic_delta(a, course.spec.target)) for a in (course.first_output, course.peak_output))
    yield Finding(
        "plateau",
        "warning",
        f"{span} the cost lies on a plateau.",
        f"The quadratic gradient, (a − y) σ′(z), is largest at an output of {course.peak_output:.3g}. The output "
        f"starts at {course.first_output:.4g}, where the gradient is {figure(100 * start / peak)} % of its largest "
        "value. The gradient grows until the output reaches the peak, which "
        + (f"happened at update {course.peak_at:,}." if course.peak_at is not None else "has not happened yet."),
        {
            "from_update": 0,
            "to_update": last if left_at is None else left_at,
            "has_ended": left_at is not None,
            "output": course.first_output,
            "peak_output": course.peak_output,
            "peak_update": course.peak_at,
            "share_of_peak_gradient": start / peak,
        },
        confidence="certain",
    )


def _saturated_but_learning(course: NeuronCourse) -> Iterator[Finding]:
    if not _starts_stuck(course) or course.spec.loss != "cross_entropy" or course.share_learned < 1 / 2:
        return
    yield Finding(
        "saturated_but_learning",
        "info",
        f"The output starts saturated and badly wrong, at {course.first_output:.4g}, but the neuron learns.",
        "Cross-entropy does not prevent saturation. Its gradient, a − y, does not contain σ′(z), so a saturated output "
        f"continues to learn. The quadratic loss's gradient is {figure(course.first_slowdown)} times smaller there.",
        _evidence(course),
        isolated(course.spec, loss="quadratic"),
        "certain",
    )


def _starts_stuck(course: NeuronCourse) -> bool:
    return course.first_slowdown >= SLOWDOWN and abs(course.first_error) >= WRONG_OUTPUT


def _gradients(course: NeuronCourse) -> dict[Loss, float]:
    error, factor = course.first_error, course.spec.input
    return {
        "quadratic": quadratic_delta(course.first_output, course.spec.target) * factor,
        "cross_entropy": error * factor,
    }


def _evidence(course: NeuronCourse) -> dict[str, object]:
    until = course.unstuck_at
    return {
        "from_update": 0,
        "to_update": course.last_update if until is None else until - 1,
        "has_ended": until is not None,
        "slowdown_factor": course.first_slowdown,
        "output": course.first_output,
        "target": course.spec.target,
        "gradient": _gradients(course),
    }


def _learns(course: NeuronCourse, *, updates: int) -> bool:
    rate = course.spec.learning_rate
    is_simulated = updates <= SIMULATED_UPDATES
    return is_simulated and course.learns_with(loss=course.spec.loss, rate=rate, updates=updates, share=WELL_LEARNED)


def _input_repair(course: NeuronCourse) -> Repair:
    """Return the spec with an input of 1, and with cross-entropy if its start is saturated where it is wrong.

    A neuron that has learned needs no repair.
    """
    if course.has_learned:
        return isolated(course.spec, input=1.0)
    alone = repaired(course.spec, input=1.0)
    if not _starts_stuck(course) or course.spec.loss != "quadratic":
        return alone
    return replace(repaired(course.spec, input=1.0, loss="cross_entropy"), isolate=alone.fields)


def _rate_repair(course: NeuronCourse, factors: Sequence[float]) -> Repair:
    """Return the spec with the first of these rates with which the neuron, simulated, learns."""
    spec = course.spec
    rates = [factor * spec.learning_rate for factor in factors]
    for share in (WELL_LEARNED, LEARNED):
        for rate in rates:
            if course.learns_with(loss=spec.loss, rate=rate, updates=spec.epochs, share=share):
                return repaired(spec, rate)
    return Repair()


def _loss_repair(course: NeuronCourse) -> Repair:
    """Return the spec with cross-entropy, at its own rate if the neuron, simulated, learns with it."""
    spec = course.spec
    for factor in (1.0, *_LARGER, *_SMALLER):
        rate = factor * spec.learning_rate
        if course.learns_with(loss="cross_entropy", rate=rate, updates=spec.epochs, share=WELL_LEARNED):
            return repaired(spec, None if factor == 1 else rate, loss="cross_entropy")
    return repaired(spec, loss="cross_entropy")
