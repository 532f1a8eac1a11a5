"""Sparklines: a curve drawn in one line of text."""

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"


def sparkline(
    values: Sequence[float],
    width: int,
    *,
    log: bool = False,
    levels: str = BLOCKS,
    low: float | None = None,
    high: float | None = None,
) -> str:
    """Return the values as at most `width` characters, from low to high.

    Each character is the mean of an equal share of the values.

    Args:
        values: the numbers in the order of the curve.
        width: columns, > 0.
        log: whether heights are logarithms. Values without a logarithm are drawn at the bottom; `low` and `high` are
            ignored.
        levels: characters from the lowest to the highest.
        low: value of the lowest character; the lowest mean if None.
        high: value of the highest character; the highest mean if None.
    """
    heights = [math.log10(value) if value > 0 else -math.inf for value in values] if log else list(values)
    finite = [height for height in heights if math.isfinite(height)]
    if not finite:
        return levels[0] * min(len(values), width)
    lowest = min(finite)
    heights = [max(height, lowest) for height in heights]
    count = min(len(heights), width)
    edges = [index * len(heights) // count for index in range(count + 1)]
    means = [math.fsum(heights[a:b]) / (b - a) for a, b in pairwise(edges)]
    bottom = min(means) if low is None or log else low
    top = max(means) if high is None or log else high
    if top <= bottom:
        return levels[len(levels) // 2] * count
    places = (int((mean - bottom) / (top - bottom) * len(levels)) for mean in means)
    return "".join(levels[max(min(place, len(levels) - 1), 0)] for place in places)
