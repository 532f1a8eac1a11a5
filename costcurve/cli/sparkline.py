"""A curve in one line of text."""

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
    """Return the values as at most `width` characters, each the mean of its share of them.

    The characters reach from `low` to `high`, and where one is None from the lowest or to the highest of the means.
    With `log` they reach from the lowest to the highest, differences count by their ratio, and values that have no
    logarithm stand at the bottom.
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
