"""The number of workers that a fleet needs, and which are idle.

This module imports neither Ray nor a database.
"""

from collections.abc import Collection, Iterable, Mapping

from costcurve.core.job import Load


def wanted(load: Load, busy: int, *, least: int, most: int) -> int:
    """Return how many workers there should be.

    This is one for each waiting job, plus the busy ones, within the limits.

    Args:
        load: the load reported by the store.
        busy: number of workers of this fleet that hold jobs.
        least: workers to keep even if no job waits.
        most: maximum number of workers; wins over `least`.
    """
    return min(max(busy + load.waiting, least), most)


class Idleness:
    """The time since which each worker has been idle."""

    def __init__(self, seconds: float) -> None:
        """Let workers be stopped after `seconds` seconds without a job."""
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def look(self, workers: Iterable[str], busy: Collection[str], now: float) -> None:
        """Record which workers are idle at `now`.

        A worker seen for the first time begins to be idle now.
        """
        self._since = {name: self._since.get(name, now) for name in workers if name not in busy}

    def spare(self, now: float) -> list[str]:
        """Return the workers that may be stopped, the longest idle first."""
        since: Mapping[str, float] = self._since
        return sorted((name for name in since if now - since[name] >= self._seconds), key=lambda name: since[name])
