"""Repairs of a network: the init, the width, the loss, the rate or the length that is most likely to work."""

from math import log
from typing import Any

from costcurve.analysis.diagnosis.repair import Repair, repaired
from costcurve.analysis.diagnosis.thresholds import LARGE_RATE, NARROW, SMALL_RATE
from costcurve.analysis.diagnosis.training_course import NetworkCourse, rate_for
from costcurve.analysis.sound_rate import expected_output_slope
from costcurve.core.initializers import AnyInit, NormalInit, ScaledNormalInit, XavierInit
from costcurve.core.spec import MnistSpec

# A width that learns well; with the quadratic loss, weights from N(0, 1) saturate the outputs of wider layers.
_WIDTH, _WIDTH_OF_NORMAL_QUADRATIC = 100, 30
# Updates that bring a network near its best, the most images that are read for it, and a batch in place of a large one.
_UPDATES, _IMAGES, _BATCH, _LARGEST_BATCH = 20_000, 1_500_000, 20, 100
# The sound rate of cross-entropy in relation to that of the quadratic loss.
_OF_CROSS_ENTROPY = 0.3


def sound_rate_repair(course: NetworkCourse) -> Repair:
    """Return the spec with the rate that suits it."""
    return repaired(course.spec, course.sound_rate)


def init_repair(course: NetworkCourse) -> Repair:
    """Return the spec with another init: the scheme whose sound rate lies nearest to the rate that is there.

    If even this one's is far from it, the rate changes, too.
    """
    spec = course.spec
    schemes: list[AnyInit] = [ScaledNormalInit(), XavierInit()]
    if spec.loss == "cross_entropy" or max(spec.layers[1:-1], default=0) <= _WIDTH_OF_NORMAL_QUADRATIC:
        schemes.append(NormalInit())
    rates = {init.scheme: rate_for(spec, expected_output_slope(init, spec.layers)) for init in schemes}
    scheme = min(rates, key=lambda name: abs(log(spec.effective_learning_rate / rates[name])))
    init = {"scheme": scheme, "output_bias": spec.init.output_bias}
    return repaired(spec, _if_unsuited(spec, rates[scheme]), init=init if spec.init.output_bias else scheme)


def width_repair(course: NetworkCourse) -> Repair:
    """Return the spec with wider hidden layers in place of narrow ones."""
    spec = course.spec
    is_bounded = spec.loss == "quadratic" and spec.init.scheme == "normal"
    width = _WIDTH_OF_NORMAL_QUADRATIC if is_bounded else _WIDTH
    layers = [
        units if place in (0, len(spec.layers) - 1) or units > NARROW else width
        for place, units in enumerate(spec.layers)
    ]
    wide = spec.model_copy(update={"layers": tuple(layers)})
    rate = rate_for(wide, expected_output_slope(spec.init, wide.layers))
    return repaired(spec, _if_unsuited(spec, rate), layers=layers)


def loss_repair(course: NetworkCourse) -> Repair:
    """Return the spec with cross-entropy, at the share of the rate that suits it."""
    rate = _OF_CROSS_ENTROPY * min(course.spec.effective_learning_rate, course.sound_rate * LARGE_RATE)
    return repaired(course.spec, rate, loss="cross_entropy")


def other_loss_test(course: NetworkCourse) -> Repair:
    """Return the spec with the other loss, at the rate that does what its own rate does."""
    rate = course.spec.effective_learning_rate
    if course.spec.loss == "quadratic":
        return repaired(course.spec, _OF_CROSS_ENTROPY * rate, loss="cross_entropy")
    return repaired(course.spec, rate / _OF_CROSS_ENTROPY, loss="quadratic")


def output_bias_repair(course: NetworkCourse) -> Repair:
    """Return the spec without its output bias."""
    spec = course.spec
    init = spec.init.model_copy(update={"output_bias": 0.0})
    rate = rate_for(spec, expected_output_slope(init, spec.layers))
    return repaired(spec, _if_unsuited(spec, rate), init=init.model_dump(mode="json"))


def output_init_repair(course: NetworkCourse) -> Repair:
    """Return the spec with a standard deviation of 1 in the output layer."""
    spec = course.spec
    std = [
        min(spec.init.layer_std(layer), 1.0) if layer == len(spec.layers) - 1 else spec.init.layer_std(layer)
        for layer in range(1, len(spec.layers))
    ]
    init = spec.init.model_copy(update={"std": tuple(std)})
    rate = rate_for(spec, expected_output_slope(init, spec.layers))
    return repaired(spec, _if_unsuited(spec, rate), init=init.model_dump(mode="json"))


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
    rate = course.sound_rate * (batch / spec.batch_size) ** 0.29
    return repaired(spec, _if_unsuited(spec, rate), **changes)


def _if_unsuited(spec: MnistSpec, rate: float) -> float | None:
    """Return the sound rate if the spec's own is far from it; None to hold the spec's own."""
    return None if SMALL_RATE <= spec.effective_learning_rate / rate <= LARGE_RATE else rate
