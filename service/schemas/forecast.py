"""The JSON of a forecast."""

from math import isfinite
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.forecast import Forecast, NeuronCourse
from costcurve.analysis.forecast.forecast import Method


class RateRangeOut(BaseModel):
    """The spec's effective learning rate, and the rates with which the network learns well."""

    model_config = ConfigDict(from_attributes=True)

    effective: float
    sound: float = Field(description="The rate that suits the network's shape, batch size, loss and start.")
    lowest: float = Field(description="With a smaller rate the job's updates are too few.")
    highest: float = Field(description="With a larger rate updates overshoot.")


class NeuronCourseOut(BaseModel):
    """The course of a neuron, simulated up to its end or up to 10,000 updates."""

    updates: int = Field(description="Number of simulated updates.")
    halfway_update: int | None = Field(
        description="First update after which the output has come half way to its target; null if there is none."
    )
    final_output: float | None = Field(description="Output after these updates; null if it is not finite.")
    final_cost: float | None

    @classmethod
    def of(cls, course: NeuronCourse) -> Self:
        return cls(
            updates=course.updates,
            halfway_update=course.halfway_update,
            final_output=_finite(course.final_output),
            final_cost=_finite(course.final_cost),
        )


class ForecastOut(BaseModel):
    """Forecast of the training from the spec alone: its start, and a neuron's whole course."""

    method: Method = Field(
        description="`drawn_weights`: the network's own weights, over a hundred training images. `mean_field`: the "
        "init alone, a rough figure, for networks of more than 300,000 parameters. `simulation`: a neuron, exact."
    )
    start: dict[str, float | None] = Field(
        description="Expected metrics before the first update, by the names of the curve's metrics and with their "
        "layers; null if not finite. With `mean_field` there are none of gradients and updates."
    )
    is_badly_wrong: bool = Field(description="True if the outputs start saturated where they are wrong.")
    learning_rate: RateRangeOut | None = Field(
        description="Null for a neuron, and if the start is badly wrong or not finite: no rate follows from it then."
    )
    course: NeuronCourseOut | None = Field(description="Null for a network.")

    @classmethod
    def of(cls, forecast: Forecast) -> Self:
        rates, course = forecast.learning_rate, forecast.course
        return cls(
            method=forecast.method,
            start={name: _finite(value) for name, value in forecast.start.items()},
            is_badly_wrong=forecast.is_badly_wrong,
            learning_rate=None if rates is None else RateRangeOut.model_validate(rates),
            course=None if course is None else NeuronCourseOut.of(course),
        )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
