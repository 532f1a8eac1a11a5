"""Forecast of a training from its spec alone, and the warnings that follow from it.

It needs numpy, no worker and no torch.
"""

from costcurve.analysis.forecast.forecast import Forecast, RateRange, forecast
from costcurve.analysis.forecast.neuron_course import NeuronCourse
from costcurve.analysis.forecast.warnings import SpecWarning, warnings

__all__ = ["Forecast", "NeuronCourse", "RateRange", "SpecWarning", "forecast", "warnings"]
