"""Diagnosis of a training of one sigmoid neuron."""

from collections.abc import Iterable, Iterator
from math import inf, sqrt

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding, diagnosis_of, figure
from costcurve.analysis.diagnosis.thresholds import PEAK_SHARE, SLOWDOWN, WRONG_OUTPUT
from costcurve.core.curve import Curve
from costcurve.core.spec import NeuronSpec
from costcurve.core.spec_diff import altered

# The metrics that a diagnosis reads.
NEURON_DIAGNOSED = ("output", "sigmoid_prime")


def diagnose_neuron(spec: NeuronSpec, chunks: Iterable[Curve]) -> Diagnosis:
    """Return the diagnosis of a neuron from its curve.

    `chunks` are consecutive chunks of the curve with NEURON_DIAGNOSED. Each is read once.
    """
    course = _Course(spec, chunks)
    if not course.updates_seen:
        return Diagnosis("Nothing is recorded yet: the neuron has not been trained.", ())
    start, end = course.first_output, course.last_output
    return diagnosis_of(
        [*_saturation(spec, course), *_plateau(spec, course)],
        otherwise=f"Nothing stands out: the output went from {start:.3g} to {end:.3g}, and the slowdown factor at the "
        f"start was {figure(course.first_slowdown)}.",
    )


class _Course:
    """Key points of a curve, found in one pass.

    Updates are counted from 0, which is the start.
    """

    def __init__(self, spec: NeuronSpec, chunks: Iterable[Curve]) -> None:
        self.updates_seen = 0
        self.first_output = self.last_output = self.first_slowdown = 0.0
        # The first update at which the condition held; None if it never did.
        self.unsaturated_at: int | None = None
        self.gradient_at: int | None = None
        self.peak_at: int | None = None
        for update, output, slowdown in _points(chunks):
            if not self.updates_seen:
                self.first_output, self.first_slowdown = output, slowdown
                self.peak_output = peak_output(spec.target, output)
                self.peak_delta = _quadratic_delta(self.peak_output, spec.target)
            self.updates_seen, self.last_output = update + 1, output
            if self.unsaturated_at is None and slowdown < SLOWDOWN:
                self.unsaturated_at = update
            if self.gradient_at is None and self._is_steep(output, spec.target):
                self.gradient_at = update
            if self.peak_at is None and self._is_past_peak(output, spec.target):
                self.peak_at = update

    def _is_steep(self, output: float, target: float) -> bool:
        return abs(_quadratic_delta(output, target)) >= PEAK_SHARE * abs(self.peak_delta)

    def _is_past_peak(self, output: float, target: float) -> bool:
        return abs(output - target) <= abs(self.peak_output - target)


def peak_output(target: float, output: float) -> float:
    """Return the output a at which the quadratic δ is largest.

    δ = (a − y) a (1 − a). The output lies between the target y and 0 or 1, on the side of `output`.
    The derivative of δ by a, −3a² + 2(1 + y) a − y, is 0 there: at 2/3 for a target of 0.
    """
    root = sqrt(1 - target + target**2)
    return (1 + target + (root if output >= target else -root)) / 3


def _quadratic_delta(output: float, target: float) -> float:
    return (output - target) * output * (1 - output)


def _points(chunks: Iterable[Curve]) -> Iterator[tuple[int, float, float]]:
    for chunk in chunks:
        columns = zip(chunk.series["output"], chunk.series["sigmoid_prime"], strict=True)
        for update, (output, slope) in enumerate(columns, start=chunk.start):
            yield update, output, 1 / slope if slope else inf


def _saturation(spec: NeuronSpec, course: _Course) -> Iterator[Finding]:
    error = course.first_output - spec.target
    if course.first_slowdown < SLOWDOWN or abs(error) < WRONG_OUTPUT:
        return
    until, last = course.unsaturated_at, course.updates_seen - 1
    to_update = last if until is None else until - 1
    gradients = {
        "quadratic": _quadratic_delta(course.first_output, spec.target) * spec.input,
        "cross_entropy": error * spec.input,
    }
    evidence = {
        "from_update": 0,
        "to_update": to_update,
        "has_ended": until is not None,
        "slowdown_factor": course.first_slowdown,
        "output": course.first_output,
        "target": spec.target,
        "gradient": gradients,
    }
    factor = figure(course.first_slowdown)
    if spec.loss == "quadratic":
        span = f"to update {to_update:,}" if until is not None else f"to the latest, update {last:,},"
        yield Finding(
            "output_saturated_quadratic",
            "warning",
            f"From update 0 {span} the output is saturated where it is badly wrong; the quadratic loss learns slowly.",
            f"At the start the output is {course.first_output:.4g} and the target {spec.target:.4g}. The quadratic "
            f"loss multiplies this error by σ′(z) = {1 / course.first_slowdown:.3g}. Its gradient is "
            f"{gradients['quadratic']:.3g}; with cross-entropy it would have been {gradients['cross_entropy']:.3g}, "
            f"{factor} times as much. Cross-entropy cures this.",
            evidence,
            altered(spec, loss="cross_entropy"),
        )
    elif spec.loss == "cross_entropy" and abs(course.last_output - spec.target) <= abs(error) / 2:
        yield Finding(
            "saturated_but_learning",
            "info",
            f"The output starts saturated and badly wrong, at {course.first_output:.4g}, but the neuron learns.",
            "Cross-entropy does not prevent saturation. Its gradient, a − y, does not contain σ′(z), so a saturated "
            f"output continues to learn. The quadratic loss would have learned {factor} times as slowly there.",
            evidence,
            altered(spec, loss="quadratic"),
        )


def _plateau(spec: NeuronSpec, course: _Course) -> Iterator[Finding]:
    """Yield a finding if the quadratic loss starts on a plateau.

    Beyond the peak of its gradient, learning is slow first and speeds up as the output approaches the peak.
    """
    if spec.loss != "quadratic" or course.gradient_at == 0 or course.peak_at == 0:
        return
    last = course.updates_seen - 1
    left_at = course.gradient_at
    span = (
        f"From update 0 to update {left_at:,}"
        if left_at is not None
        else f"From update 0 to the latest, update {last:,},"
    )
    start, peak = (abs(_quadratic_delta(a, spec.target)) for a in (course.first_output, course.peak_output))
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
        altered(spec, loss="cross_entropy"),
    )
