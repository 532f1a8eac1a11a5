"""Metrics of curves: label, unit, range, chance level, better direction, and where each is recorded.

The names of a curve's columns, plots, the command line and the documentation come from here. An axis shows the metric's
whole range, so that a curve that hardly changes looks flat.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from costcurve.core.datasets import MNIST

# Recorded as a share of 1, shown in percent.
PERCENT = "%"
# The unit of the loss: half a squared error, or nats.
OF_LOSS = "of its loss"
# A unit is saturated if σ′(z), the share that it passes on of what reaches it, is below this. σ′ is at most 0.25.
SATURATED_BELOW = 0.01

# The owner of a metric has a value of it: a neuron after each update; a network after each epoch, as a whole, for each
# layer, for each hidden layer, for each diagnosed loss, or at its output; a point of a network's curve by steps.
Owner = Literal["neuron", "network", "layer", "hidden_layer", "loss", "output", "step"]


@dataclass(frozen=True, slots=True)
class Metric:
    """Properties of a metric, the same wherever it is shown.

    `low`, `high` and `chance` are in the unit in which values are recorded. `low` and `high` are None if the values
    have no such bound. `chance` is the value that guessing would give. `better` is None if neither direction is better
    in itself. `may_be_infinite` is True for a ratio whose denominator can be too small in a healthy training.
    """

    label: str
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    better: Literal["higher", "lower"] | None = None
    may_be_infinite: bool = False
    owners: tuple[Owner, ...] = ()

    @property
    def is_share(self) -> bool:
        """Return True if the metric is shown in percent.

        Its axis reaches from 0 to 100 and is never logarithmic.
        """
        return self.unit == PERCENT

    @property
    def scale(self) -> float:
        """Factor from a recorded value to the value in the shown unit."""
        return 100.0 if self.is_share else 1.0


def _cost(label: str, *owners: Owner) -> Metric:
    return Metric(label, OF_LOSS, low=0.0, better="lower", owners=owners)


def _accuracy(images: str) -> Metric:
    label, chance = f"accuracy on the {images} images", 1 / MNIST.classes
    return Metric(label, PERCENT, low=0.0, high=1.0, chance=chance, better="higher", owners=("network",))


# In the order in which a curve has them.
METRICS: Mapping[str, Metric] = {
    "cost": _cost("cost", "neuron", "network", "step"),
    "cost_min": _cost("lowest cost of a minibatch", "step"),
    "cost_max": _cost("highest cost of a minibatch", "step"),
    "test_cost": _cost("cost on the test images", "network"),
    "correct": Metric(
        "test images read correctly",
        f"of {MNIST.test_size:,}",
        low=0.0,
        high=float(MNIST.test_size),
        chance=MNIST.test_size / MNIST.classes,
        better="higher",
        owners=("network",),
    ),
    "accuracy": _accuracy("test"),
    "least_class_accuracy": Metric(
        "accuracy on the test images of the digit read worst",
        PERCENT,
        low=0.0,
        high=1.0,
        better="higher",
        owners=("network",),
    ),
    "validation_accuracy": _accuracy("validation"),
    "output": Metric("output a", low=0.0, high=1.0, owners=("neuron",)),
    "weight": Metric("weight w", owners=("neuron",)),
    "bias": Metric("bias b", owners=("neuron",)),
    "gradient": Metric("gradient ∂C/∂w", owners=("neuron",)),
    "sigmoid_prime": Metric("σ′(z)", low=0.0, owners=("neuron",)),
    "saturated_fraction": Metric("saturated, σ′(z) < 0.01", PERCENT, low=0.0, high=1.0, owners=("layer",)),
    "mean_sigmoid_prime": Metric("mean σ′(z)", low=0.0, owners=("layer",)),
    "gradient_norm": Metric("gradient norm ‖∂C/∂W‖", low=0.0, owners=("layer",)),
    "update_ratio": Metric("update / weight norm ratio", low=0.0, may_be_infinite=True, owners=("layer",)),
    "distinct_units": Metric("distinct units", low=0.0, owners=("hidden_layer",)),
    "output_delta": Metric("mean |δ| at the output", low=0.0, owners=("loss",)),
    "output_gradient_norm": Metric("gradient norm ‖∂C/∂W‖ at the output", low=0.0, owners=("loss",)),
    "slowdown_factor": Metric(
        "slowdown factor\n|δ cross-entropy| / |δ quadratic|", may_be_infinite=True, owners=("neuron", "output")
    ),
}


def metrics_of_owner(owner: Owner) -> tuple[str, ...]:
    """Return the names of the metrics that this owner has, in their order."""
    return tuple(name for name, metric in METRICS.items() if owner in metric.owners)


def metric_named(name: str) -> Metric:
    """Return the metric of a column, for instance of `saturated_fraction.1`.

    The label of a metric that only a newer version knows is its name.
    """
    base = name.partition(".")[0]
    return METRICS.get(base) or Metric(base)


def is_shown_in_percent(figure: str) -> bool:
    """Return True for a share: a metric, or a figure of one, such as `best_accuracy` or `mean_accuracy`."""
    return metric_named(figure.removeprefix("final_").removeprefix("best_").removeprefix("mean_")).is_share
