"""Forecast of a training from its spec: its start, and for a neuron its whole course."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from costcurve.analysis.diagnosis.thresholds import SLOWDOWN, WRONG_OUTPUT, WRONG_OUTPUTS
from costcurve.analysis.forecast.mean_field import mean_field_figures
from costcurve.analysis.forecast.network_start import drawn_figures
from costcurve.analysis.forecast.neuron_course import NeuronCourse, simulated
from costcurve.analysis.forecast.sample import stored_sample
from costcurve.analysis.sound_rate import sound_rate
from costcurve.core.curve import is_sound
from costcurve.core.losses import ARTICLE_LOSSES
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec, parameter_count

# The network's own weights over a sample of images; the init alone; every update of a neuron.
Method = Literal["drawn_weights", "mean_field", "simulation"]

# Networks of more parameters are not drawn. One of this size takes about 20 ms: 90 million multiply-adds.
MOST_PARAMETERS = 300_000
# Rates are sound from this share of the sound rate on …
_LOWEST_SHARE = 1 / 3
# … and below it, if the updates are as many as this number at the sound rate: fewer cost more than two points. Up to
# this multiple; beyond it three points are lost, and soon all.
_EQUAL_UPDATES = 2_000
_HIGHEST_SHARE = 4.0


@dataclass(frozen=True, slots=True)
class RateRange:
    """Effective learning rate of the spec, the one that suits the network, and the range of sound ones."""

    effective: float
    sound: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected start of a training.

    `start` has the figures before the first update, by the names of the curve's metrics. `is_badly_wrong` is True if
    the outputs start saturated where they are wrong. `learning_rate` is None for a neuron, and if the start is badly
    wrong or not finite: there the formula does not hold. `course` is None for a network. For a loss other than the
    article's both are None.
    """

    method: Method
    start: Mapping[str, float]
    is_badly_wrong: bool
    learning_rate: RateRange | None = None
    course: NeuronCourse | None = None

    @property
    def is_finite(self) -> bool:
        """True if training can begin."""
        return all(is_sound(name, value) for name, value in self.start.items())


@lru_cache(maxsize=256)
def forecast(spec: AnySpec) -> Forecast:
    """Return the forecast of a valid spec. It takes 2 ms for the default network, 20 ms at most.

    Forecasts that were requested last are kept: a client validates a spec, then submits it.
    """
    return _of_neuron(spec) if isinstance(spec, NeuronSpec) else _of_network(spec)


def _of_neuron(spec: NeuronSpec) -> Forecast:
    start, course = simulated(spec)
    is_wrong = abs(start["output"] - spec.target) >= WRONG_OUTPUT and start["slowdown_factor"] >= SLOWDOWN
    return Forecast("simulation", start, is_wrong, course=course)


def _of_network(spec: MnistSpec) -> Forecast:
    is_small = parameter_count(spec.layers) <= MOST_PARAMETERS
    start = (drawn_figures if is_small else mean_field_figures)(spec, stored_sample())
    is_wrong = start["output_delta.cross_entropy"] >= WRONG_OUTPUTS and start["slowdown_factor"] >= SLOWDOWN
    found = Forecast("drawn_weights" if is_small else "mean_field", start, is_wrong)
    if is_wrong or not found.is_finite:
        return found
    return Forecast(found.method, start, is_wrong, learning_rate=_rates(spec, start))


def _rates(spec: MnistSpec, start: Mapping[str, float]) -> RateRange | None:
    slope = start[f"mean_sigmoid_prime.{len(spec.layers) - 1}"]
    if not slope or spec.loss not in ARTICLE_LOSSES:
        return None
    sound = sound_rate(
        loss=spec.loss,
        layers=spec.layers,
        batch_size=spec.batch_size,
        output_slope=slope,
    )
    lowest = sound * min(_LOWEST_SHARE, _EQUAL_UPDATES / spec.total_steps)
    return RateRange(spec.effective_learning_rate, sound, lowest, _HIGHEST_SHARE * sound)
