"""Label, unit, value range and chance level of each recorded metric.

Plots and the command line take their axes from here, so that a curve that hardly changes looks flat.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Recorded as a share of 1, shown in percent.
PERCENT = "%"
# The unit of the loss: half a squared error, or nats.
OF_LOSS = "of its loss"
# A unit is saturated if σ′(z), the share that it passes on of what reaches it, is below this. σ′ is at most 0.25.
SATURATED_BELOW = 0.01


@dataclass(frozen=True, slots=True)
class Metric:
    """Properties of a metric, the same wherever it is shown.

    `low`, `high` and `chance` are in the unit in which values are recorded. `low` and `high` are None if the values
    have no such bound. `chance` is the value that guessing would give.
    """

    label: str
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None

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


METRICS: Mapping[str, Metric] = {
    "cost": Metric("cost", OF_LOSS, low=0.0),
    "cost_min": Metric("lowest cost of a minibatch", OF_LOSS, low=0.0),
    "cost_max": Metric("highest cost of a minibatch", OF_LOSS, low=0.0),
    "test_cost": Metric("cost on the test images", OF_LOSS, low=0.0),
    "correct": Metric("test images read correctly", "of 10,000", low=0.0, high=10_000.0, chance=1_000.0),
    "accuracy": Metric("accuracy on the test images", PERCENT, low=0.0, high=1.0, chance=0.1),
    "validation_accuracy": Metric("accuracy on the validation images", PERCENT, low=0.0, high=1.0, chance=0.1),
    "output": Metric("output a", low=0.0, high=1.0),
    "weight": Metric("weight w"),
    "bias": Metric("bias b"),
    "gradient": Metric("gradient ∂C/∂w"),
    "sigmoid_prime": Metric("σ′(z)", low=0.0),
    "slowdown_factor": Metric("slowdown factor\n|δ cross-entropy| / |δ quadratic|"),
    "saturated_fraction": Metric("saturated, σ′(z) < 0.01", PERCENT, low=0.0, high=1.0),
    "mean_sigmoid_prime": Metric("mean σ′(z)", low=0.0),
    "gradient_norm": Metric("gradient norm ‖∂C/∂W‖", low=0.0),
    "update_ratio": Metric("update / weight norm ratio", low=0.0),
    "distinct_units": Metric("distinct units", low=0.0),
    "output_delta": Metric("mean |δ| at the output", low=0.0),
    "output_gradient_norm": Metric("gradient norm ‖∂C/∂W‖ at the output", low=0.0),
}


def metric_named(name: str) -> Metric:
    """Return the metric of a column, for instance of `saturated_fraction.1`.

    The label of a metric that only a newer version knows is its name.
    """
    base = name.partition(".")[0]
    return METRICS.get(base) or Metric(base)
