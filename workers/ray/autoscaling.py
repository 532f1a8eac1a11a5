"""How many workers a fleet wants, and which of them it lets go. Knows neither Ray nor a database."""

from collections.abc import Collection, Iterable, Mapping

from costcurve.core.job import Load


def wanted(load: Load, busy: int, *, least: int, most: int) -> int:
    """How many workers there should be: one for each job that waits, besides those that have something in hand.

    Args:
        load: what the store says.
        busy: workers of this fleet that have something in hand.
        least: what is kept even if nothing waits.
        most: what there may be at all; it wins over `least`.
    """
    return min(max(busy + load.waiting, least), most)


class Idleness:
    """Since when each worker has had nothing in hand."""

    def __init__(self, seconds: float) -> None:
        """Whoever has had nothing in hand for so many seconds may be let go."""
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def look(self, workers: Iterable[str], busy: Collection[str], now: float) -> None:
        """Note who has nothing in hand now. Whoever is seen for the first time begins to be idle now."""
        self._since = {name: self._since.get(name, now) for name in workers if name not in busy}

    def spare(self, now: float) -> list[str]:
        """Who may be let go, the longest idle first."""
        since: Mapping[str, float] = self._since
        return sorted((name for name in since if now - since[name] >= self._seconds), key=lambda name: since[name])
