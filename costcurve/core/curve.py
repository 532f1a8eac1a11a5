"""Curves stored as columns: metrics of each experiment, and byte encoding."""

import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from costcurve.core.losses import diagnosed_losses
from costcurve.core.metrics import metric_named, metrics_of_owner
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec

# One point per epoch, or per STEPS_A_POINT steps. A neuron's epoch is one update, so for a neuron both are the same.
Granularity = Literal["epoch", "step"]
STEPS_A_POINT = 100
# Mean, lowest and highest minibatch cost over these steps; each cost is taken before its update.
STEP_METRICS = metrics_of_owner("step")
NEURON_METRICS = metrics_of_owner("neuron")


def metrics_of(spec: AnySpec, granularity: Granularity = "epoch") -> tuple[str, ...]:
    """Return the metrics that this spec records, in their documented order."""
    if isinstance(spec, NeuronSpec):
        return NEURON_METRICS
    return (*metrics_of_owner("network"), *diagnosis_metrics(spec)) if granularity == "epoch" else STEP_METRICS


def diagnosis_metrics(spec: MnistSpec) -> tuple[str, ...]:
    """Return the metrics that show how well a network can learn.

    They describe the state that the network has at each point (workers/training/diagnostics.py). Layers are counted
    from 1.
    """
    layers = len(spec.layers) - 1
    of_layers = (f"{name}.{layer}" for layer in range(1, layers + 1) for name in metrics_of_owner("layer"))
    of_hidden = (f"{name}.{layer}" for layer in range(1, layers) for name in metrics_of_owner("hidden_layer"))
    of_losses = (f"{name}.{loss}" for loss in diagnosed_losses(spec.loss) for name in metrics_of_owner("loss"))
    return (*of_layers, *of_hidden, *of_losses, *metrics_of_owner("output"))


def may_be_infinite(metric: str) -> bool:
    """Return True if infinity is an ordinary value of the metric.

    Infinity is then no sign that the training diverged.
    """
    return metric_named(metric).may_be_infinite


def is_sound(metric: str, value: float) -> bool:
    """Return True if the value is finite, or an ordinary infinity.

    Infinity is ordinary for the metrics for which `may_be_infinite` returns True.
    """
    return math.isfinite(value) or (math.isinf(value) and may_be_infinite(metric))


@dataclass(slots=True)
class Curve:
    """Points at consecutive x, stored as one column for each metric.

    x is start, start + 1, and so on. `series` has one list of float64 for each metric. All lists have the same length.
    """

    start: int = 0
    series: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.series.values()), ()))

    @property
    def end(self) -> int:
        """The x after the last point."""
        return self.start + len(self)

    def append(self, values: Mapping[str, float]) -> None:
        """Add the point at x = `end`.

        Every point must have the same metrics.
        """
        if not self.series:
            self.series = {name: [] for name in values}
        for name, value in values.items():
            self.series[name].append(value)

    def between(self, first: int, last: int) -> "Curve":
        """Return the points with first <= x <= last."""
        low, high = max(first - self.start, 0), max(last + 1 - self.start, 0)
        return Curve(self.start + low, {name: values[low:high] for name, values in self.series.items()})

    def only(self, metrics: Sequence[str]) -> "Curve":
        """Return the same points with only these metrics, in this order.

        A metric that was not recorded is NaN.
        """
        length = len(self)
        return Curve(self.start, {name: self.series.get(name, [math.nan] * length) for name in metrics})

    @classmethod
    def joined(cls, chunks: Iterable["Curve"]) -> "Curve":
        """Return one curve of consecutive chunks. Empty chunks are skipped."""
        whole = cls()
        for chunk in chunks:
            if not len(chunk):
                continue
            if not len(whole):
                whole = cls(chunk.start, {name: [] for name in chunk.series})
            if chunk.start != whole.end:
                raise ValueError(f"a chunk starting at x = {chunk.start} cannot follow x = {whole.end - 1}")
            for name, values in chunk.series.items():
                whole.series[name].extend(values)
        return whole


def encode(curve: Curve) -> bytes:
    """Return the values as little-endian float64, metric by metric."""
    values = array("d")
    for column in curve.series.values():
        values.extend(column)
    return _little_endian(values).tobytes()


def decode(data: bytes, *, start: int, metrics: Sequence[str], first: int = 0, last: int | None = None) -> Curve:
    """Return the curve that `encode` turned into bytes, exact to the bit.

    Return only the points with first <= x <= last, if these are given.
    """
    length = len(data) // 8 // len(metrics)
    low = min(max(first - start, 0), length)
    high = length if last is None else max(min(last + 1 - start, length), low)
    places = ((8 * (i * length + low), 8 * (i * length + high)) for i in range(len(metrics)))
    columns = (_little_endian(array("d", data[begin:end])).tolist() for begin, end in places)
    return Curve(start + low, dict(zip(metrics, columns, strict=True)))


def _little_endian(values: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        values.byteswap()
    return values
