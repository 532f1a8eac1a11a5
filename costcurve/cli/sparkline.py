"""A curve in one line of text."""

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"


def sparkline(values: Sequence[float], width: int, *, log: bool = False, levels: str = BLOCKS) -> str:
    """The values as at most `width` characters, each the mean of its share of them, the lowest to the highest.

    With `log`, differences count by their ratio; values that have no logarithm stand at the bottom.
    """
    heights = [math.log10(value) if value > 0 else -math.inf for value in values] if log else list(values)
    finite = [height for height in heights if math.isfinite(height)]
    if not finite:
        return levels[0] * min(len(values), width)
    low = min(finite)
    heights = [max(height, low) for height in heights]
    count = min(len(heights), width)
    edges = [index * len(heights) // count for index in range(count + 1)]
    means = [math.fsum(heights[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high <= low:
        return levels[len(levels) // 2] * count
    return "".join(levels[min(int((mean - low) / (high - low) * len(levels)), len(levels) - 1)] for mean in means)
