"""Curves as columns: which metrics each experiment records, and how a run of points is stored as bytes."""

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jobs.spec import AnySpec, NeuronSpec

# A point for each epoch, or one for each STEPS_A_POINT steps. A neuron's epoch is one update: for it both are the same.
Granularity = Literal["epoch", "step"]
STEPS_A_POINT = 100
# Of the minibatches of so many steps, each cost taken before its update: the mean, the lowest and the highest.
STEP_METRICS = ("cost", "cost_min", "cost_max")

NEURON_METRICS = ("cost", "output", "weight", "bias", "gradient", "sigmoid_prime")
MNIST_METRICS = ("cost", "test_cost", "correct", "accuracy", "validation_accuracy")


def metrics_of(spec: AnySpec, granularity: Granularity = "epoch") -> tuple[str, ...]:
    """The metrics that this spec's training records at each x, in their documented order."""
    if isinstance(spec, NeuronSpec):
        return NEURON_METRICS
    return MNIST_METRICS if granularity == "epoch" else STEP_METRICS


@dataclass(slots=True)
class Curve:
    """A run of points at consecutive x = start, start + 1, …; one list of float64 for each metric, all equally long."""

    start: int = 0
    series: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.series.values()), ()))

    @property
    def end(self) -> int:
        """The x behind the last point."""
        return self.start + len(self)

    def append(self, values: Mapping[str, float]) -> None:
        """Add the point at x = `end`; every point must have the same metrics."""
        if not self.series:
            self.series = {name: [] for name in values}
        for name, value in values.items():
            self.series[name].append(value)

    def between(self, first: int, last: int) -> "Curve":
        """The points with first <= x <= last."""
        low, high = max(first - self.start, 0), max(last + 1 - self.start, 0)
        return Curve(self.start + low, {name: values[low:high] for name, values in self.series.items()})

    def only(self, metrics: Sequence[str]) -> "Curve":
        """The same points with these metrics, in this order."""
        return Curve(self.start, {name: self.series.get(name, []) for name in metrics})

    @classmethod
    def joined(cls, runs: Iterable["Curve"]) -> "Curve":
        """One curve of consecutive runs."""
        whole = cls()
        for run in runs:
            if not len(run):
                continue
            if not len(whole):
                whole = cls(run.start, {name: [] for name in run.series})
            if run.start != whole.end:
                raise ValueError(f"a run starting at x = {run.start} cannot follow x = {whole.end - 1}")
            for name, values in run.series.items():
                whole.series[name].extend(values)
        return whole


def encode(curve: Curve) -> bytes:
    """The values as little-endian float64, metric by metric."""
    values = array("d")
    for column in curve.series.values():
        values.extend(column)
    return _little_endian(values).tobytes()


def decode(data: bytes, *, start: int, metrics: Sequence[str]) -> Curve:
    """The inverse of `encode`, exact to the bit."""
    values = array("d", data)
    _little_endian(values)
    length = len(values) // len(metrics)
    columns = (values[i * length : (i + 1) * length].tolist() for i in range(len(metrics)))
    return Curve(start, dict(zip(metrics, columns, strict=True)))


def _little_endian(values: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        values.byteswap()
    return values
