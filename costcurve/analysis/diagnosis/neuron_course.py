"""Key points of a neuron's training, and simulations of what it would do with other fields.

Weight and bias get the same δ = ∂C/∂z, times the input and times 1. So one number describes the neuron: each update
changes its z by −η (x² + 1) δ.
"""

from collections.abc import Iterable, Iterator
from math import copysign, exp, inf, log, sqrt

from costcurve.analysis.diagnosis.thresholds import LEARNED, PEAK_SHARE, SIMULATED_UPDATES, SLOWDOWN, WRONG_OUTPUT
from costcurve.core.curve import Curve
from costcurve.core.initializers import ConstantInit
from costcurve.core.losses import Loss
from costcurve.core.spec import NeuronSpec

# z whose σ′ is the smallest float64.
_LARGEST_Z = 744.0


class NeuronCourse:
    """Key points of a curve, found in one pass.

    Updates are counted from 0, which is the start. A point is an update; None if the condition never held.
    """

    def __init__(self, spec: NeuronSpec, chunks: Iterable[Curve]) -> None:
        self.spec = spec
        self.updates_seen = 0
        self.first_output = self.last_output = self.first_slowdown = 0.0
        # The first update at which the output was not saturated where it is badly wrong.
        self.unstuck_at: int | None = None
        # The first update with half of the largest quadratic gradient or past its peak, and the first past its peak.
        self.gradient_at: int | None = None
        self.peak_at: int | None = None
        # The first update that carried the output past its target.
        self.overshot_at: int | None = None
        for update, output, slowdown in _points(chunks):
            if not self.updates_seen:
                self.first_output, self.first_slowdown = output, slowdown
                self.peak_output = peak_output(spec.target, output)
                self.peak_delta = quadratic_delta(self.peak_output, spec.target)
            self.updates_seen, self.last_output = update + 1, output
            error = output - spec.target
            if self.unstuck_at is None and not (slowdown >= SLOWDOWN and abs(error) >= WRONG_OUTPUT):
                self.unstuck_at = update
            is_past_peak = abs(error) <= abs(self.peak_output - spec.target)
            if self.gradient_at is None and (is_past_peak or self._is_steep(output)):
                self.gradient_at = update
            if self.peak_at is None and is_past_peak:
                self.peak_at = update
            if self.overshot_at is None and error * self.first_error < 0:
                self.overshot_at = update

    @property
    def first_error(self) -> float:
        """The output's distance from the target at the start, signed."""
        return self.first_output - self.spec.target

    @property
    def share_learned(self) -> float:
        """Share of the way from the first output to the target that the latest output has won."""
        if not self.first_error:
            return 1.0
        return 1 - abs(self.last_output - self.spec.target) / abs(self.first_error)

    @property
    def has_learned(self) -> bool:
        """Return True if most of the way to the target is won."""
        return self.share_learned >= LEARNED

    @property
    def last_update(self) -> int:
        """The latest update."""
        return self.updates_seen - 1

    def learns_with(self, *, loss: Loss, rate: float, updates: int, share: float = LEARNED) -> bool:
        """Return True if the neuron, simulated from its start, wins this share of the way without overshooting."""
        output = simulated_output(self.spec, self._first_z, loss=loss, rate=rate, updates=updates)
        error = output - self.spec.target
        return error * self.first_error >= 0 and abs(error) <= (1 - share) * abs(self.first_error)

    @property
    def _first_z(self) -> float:
        """The start's z: from a constant init, or from the figures, as e^|z| is σ(|z|) / σ(−|z|)."""
        init = self.spec.init
        if isinstance(init, ConstantInit):
            return init.weight * self.spec.input + init.bias + init.output_bias
        largest = max(self.first_output, 1 - self.first_output)
        size = min(log(largest**2 * self.first_slowdown), _LARGEST_Z) if self.first_slowdown < inf else _LARGEST_Z
        return copysign(size, self.first_output - 0.5)

    def _is_steep(self, output: float) -> bool:
        return abs(quadratic_delta(output, self.spec.target)) >= PEAK_SHARE * abs(self.peak_delta)


def simulated_output(spec: NeuronSpec, z: float, *, loss: Loss, rate: float, updates: int) -> float:
    """Return the output after some updates from this z, SIMULATED_UPDATES at most."""
    step = rate * (spec.input**2 + 1)
    for _ in range(min(updates, SIMULATED_UPDATES)):
        output = _sigmoid(z)
        z -= step * (quadratic_delta(output, spec.target) if loss == "quadratic" else output - spec.target)
    return _sigmoid(z)


def peak_output(target: float, output: float) -> float:
    """Return the output a at which the quadratic δ is largest.

    δ = (a − y) a (1 − a). The output lies between the target y and 0 or 1, on the side of `output`.
    The derivative of δ by a, −3a² + 2(1 + y) a − y, is 0 there: at 2/3 for a target of 0.
    """
    root = sqrt(1 - target + target**2)
    return (1 + target + (root if output >= target else -root)) / 3


def quadratic_delta(output: float, target: float) -> float:
    """Return δ of the quadratic loss, (a − y) a (1 − a)."""
    return (output - target) * output * (1 - output)


def _points(chunks: Iterable[Curve]) -> Iterator[tuple[int, float, float]]:
    for chunk in chunks:
        if not len(chunk):
            continue
        columns = zip(chunk.series["output"], chunk.series["sigmoid_prime"], strict=True)
        for update, (output, slope) in enumerate(columns, start=chunk.start):
            yield update, output, 1 / slope if slope else inf


def _sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z)) if z >= 0 else exp(z) / (1 + exp(z))
