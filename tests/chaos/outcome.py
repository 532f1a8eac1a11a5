"""What a scenario came to."""

from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass(frozen=True)
class Outcome:
    """Figures for a person, and everything that should not have happened; nothing of the kind means that it held."""

    figures: dict[str, str]
    problems: list[str] = field(default_factory=list)


def spread(seconds: list[float]) -> str:
    """Median, 99th percentile and maximum of durations."""
    if not seconds:
        return "none"
    high = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
    return f"median {median(seconds):.3f} s, 99th percentile {high:.3f} s, longest {max(seconds):.3f} s"
