"""What an engine yields while it trains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.curves import Curve
from jobs.errors import Diverged
from jobs.job import MnistResult, NeuronResult

# Seconds of training between two reports.
REPORT_INTERVAL = 0.15


@dataclass(frozen=True, slots=True)
class Report:
    """Steps and epochs done so far, the curve's points since the last report, and in the last report the result."""

    step: int
    epoch: int
    curve: Curve
    result: NeuronResult | MnistResult | None = None


def ensure_finite(figures: Mapping[str, float], *, where: str) -> None:
    """Raise Diverged, naming figure and place, unless all are finite."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} was no longer finite ({value}) {where}")
