"""Repairs of a network: the init, the width, the loss, the rate or the length that is most likely to work."""

from math import log
from typing import Any

from costcurve.analysis.diagnosis.repair import Repair, repaired
from costcurve.analysis.diagnosis.thresholds import LARGE_RATE, NARROW, SMALL_RATE
from costcurve.analysis.diagnosis.training_course import NetworkCourse, rate_for
from costcurve.analysis.sound_rate import expected_output_slope
from costcurve.core.initializers import AnyInit, NormalInit, ScaledNormalInit, XavierInit
from costcurve.core.losses import Loss
from costcurve.core.spec import MnistSpec

# A width in place of a narrow one. With the quadratic loss, wide layers take only a small range of rates.
_WIDTHS: dict[Loss, int] = {"quadratic": 60, "cross_entropy": 100}
# With the quadratic loss, weights from N(0, 1) of wider layers than this often lose a digit, at any rate.
_MOST_NORMAL_UNITS = 30
# Updates that bring a network near its best, the most images that are read for it, and a batch in place of a large one.
_UPDATES, _IMAGES, _BATCH, _LARGEST_BATCH = 20_000, 1_500_000, 20, 100
# The sound rate of cross-entropy in relation to that of the quadratic loss.
_OF_CROSS_ENTROPY = 0.3
# A rate in this relation to the sound one is left as it is.
_SUITED = (0.5, 1.5)


def sound_rate_repair(course: NetworkCourse) -> Repair:
    """Return the spec with the rate that suits it, and with an init that bears it."""
    spec = course.spec
    if not _loses_digits(spec):
        return repaired(spec, course.sound_rate)
    init = ScaledNormalInit(output_bias=spec.init.output_bias)
    return repaired(spec, _rate_with(spec, init), init=_named(init))


def init_repair(course: NetworkCourse) -> Repair:
    """Return the spec with another init: the scheme whose sound rate lies nearest to the rate that is there.

    If even this one's is far from it, the rate changes, too.
    """
    spec = course.spec
    schemes = [scheme(output_bias=spec.init.output_bias) for scheme in (ScaledNormalInit, XavierInit)]
    init = min(schemes, key=lambda each: abs(log(spec.effective_learning_rate / _rate_with(spec, each))))
    return repaired(spec, _if_unsuited(spec, _rate_with(spec, init)), init=_named(init))


def width_repair(course: NetworkCourse) -> Repair:
    """Return the spec with wider hidden layers in place of narrow ones, and with an init that bears them."""
    spec, last = course.spec, len(course.spec.layers) - 1
    width = _WIDTHS.get(spec.loss, min(_WIDTHS.values()))
    layers = [units if place in (0, last) or units > NARROW else width for place, units in enumerate(spec.layers)]
    wide = spec.model_copy(update={"layers": tuple(layers)})
    if not _loses_digits(wide):
        return repaired(spec, _if_unsuited(spec, _rate_with(wide, spec.init)), layers=layers)
    init = ScaledNormalInit(output_bias=spec.init.output_bias)
    return repaired(spec, _if_unsuited(spec, _rate_with(wide, init)), layers=layers, init=_named(init))


def loss_repair(course: NetworkCourse) -> Repair:
    """Return the spec with cross-entropy, at the share of the rate that suits it."""
    rate = _OF_CROSS_ENTROPY * min(course.spec.effective_learning_rate, course.sound_rate * LARGE_RATE)
    return repaired(course.spec, rate, loss="cross_entropy")


def other_loss_test(course: NetworkCourse) -> Repair:
    """Return the spec with the other loss, at the rate that suits this one."""
    other: Loss = "cross_entropy" if course.spec.loss == "quadratic" else "quadratic"
    return repaired(course.spec, course.sound_rate_of(other), loss=other)


def output_bias_repair(course: NetworkCourse) -> Repair:
    """Return the spec without its output bias."""
    spec = course.spec
    init = spec.init.model_copy(update={"output_bias": 0.0})
    return repaired(spec, _if_far(spec, _rate_with(spec, init)), init=init.model_dump(mode="json"))


def output_init_repair(course: NetworkCourse, init: NormalInit) -> Repair:
    """Return the spec with a standard deviation of 1 at most in the output layer."""
    spec, last = course.spec, len(course.spec.layers) - 1
    std = [init.layer_std(layer) for layer in range(1, last)]
    smaller = init.model_copy(update={"std": (*std, min(init.layer_std(last), 1.0))})
    return repaired(spec, _if_far(spec, _rate_with(spec, smaller)), init=smaller.model_dump(mode="json"))


def longer_repair(course: NetworkCourse) -> Repair:
    """Return the spec with more updates.

    Where batches are large, they become smaller: the same images then make more updates.
    """
    spec = course.spec
    batch = spec.batch_size if spec.batch_size <= _LARGEST_BATCH else _BATCH
    updates = min(_UPDATES, _IMAGES // batch)
    changes: dict[str, Any] = {"steps_per_epoch": -(-updates // spec.epochs)}
    if batch != spec.batch_size:
        changes["batch_size"] = batch
    init: AnyInit = spec.init
    longer = spec.model_copy(update=changes)
    if _loses_digits(spec):
        init = ScaledNormalInit(output_bias=init.output_bias)
        changes["init"] = _named(init)
    return repaired(spec, _if_unsuited(spec, _rate_with(longer, init)), **changes)


def _loses_digits(spec: MnistSpec) -> bool:
    """Return True if such a network often never reads one of the digits."""
    is_wide = max(spec.layers[1:-1], default=0) > _MOST_NORMAL_UNITS
    return is_wide and spec.loss == "quadratic" and spec.init.scheme == "normal"


def _named(init: AnyInit) -> str | dict[str, Any]:
    """Return an init as a client would write it."""
    return {"scheme": init.scheme, "output_bias": init.output_bias} if init.output_bias else init.scheme


def _rate_with(spec: MnistSpec, init: AnyInit) -> float:
    """Return the sound rate of this spec with this init, whose output bias does not count."""
    return rate_for(spec, expected_output_slope(init.model_copy(update={"output_bias": 0.0}), spec.layers))


def _if_unsuited(spec: MnistSpec, rate: float) -> float | None:
    """Return the sound rate if the spec's own is not near it; None to hold the spec's own."""
    return None if _SUITED[0] <= spec.effective_learning_rate / rate <= _SUITED[1] else rate


def _if_far(spec: MnistSpec, rate: float) -> float | None:
    """Return the sound rate if the spec's own is too small or too large; None to hold the spec's own."""
    return None if SMALL_RATE <= spec.effective_learning_rate / rate <= LARGE_RATE else rate
