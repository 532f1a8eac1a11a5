"""Limits on the requests of each key, and of each address that sends keys that are not valid.

They count within one process of the service.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor
from time import monotonic

from cachetools import LRUCache

from costcurve.core.access import ProjectLimits
from costcurve.core.errors import RateLimited

# Keys or addresses that are counted at once. The one that was counted longest ago starts again with a full bucket.
_MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Limits that a service with keys has.

    Attributes:
        requests_per_second: of each key.
        heavy_requests: of each key at once.
        failures_per_minute: keys that are not valid, from each address.
        project_limits: of projects that have none of their own.
    """

    requests_per_second: float = 50.0
    heavy_requests: int = 4
    failures_per_minute: float = 60.0
    project_limits: ProjectLimits = field(default_factory=ProjectLimits)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class TokenBuckets:
    """Token buckets, one for each name. Use from one thread at a time."""

    def __init__(self, per_second: float, *, size: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        """Set the rate at which tokens return, and how many a bucket holds.

        By default it holds those of one second, and at least one.
        """
        self.per_second = per_second
        self.size = max(1, floor(per_second if size is None else size))
        self._clock = clock
        self._buckets: LRUCache[str, _Bucket] = LRUCache(_MOST_COUNTED)

    def left(self, name: str) -> float:
        """Return the tokens that the bucket holds now, a fraction included."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return float(self.size)
        return min(self.size, bucket.tokens + (self._clock() - bucket.at) * self.per_second)

    def take(self, name: str) -> float:
        """Take one token, and return what is left. The bucket must hold one."""
        tokens = self.left(name) - 1
        self._buckets[name] = _Bucket(tokens, self._clock())
        return tokens

    def wait(self, name: str) -> int:
        """Return the whole seconds until the bucket holds a token, at least 1."""
        return max(1, ceil((1 - self.left(name)) / self.per_second))


class KeyLimits:
    """Limits of each key: requests a second, and heavy requests at once."""

    def __init__(
        self, *, requests_per_second: float, heavy_requests: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._requests = TokenBuckets(requests_per_second, clock=clock)
        self._most_heavy = heavy_requests
        self._heavy: Counter[str] = Counter()
        self._changing = threading.Lock()
        window = ceil(self._requests.size / requests_per_second)
        self.policy = (
            f'"requests";q={self._requests.size};w={window}, "heavy";q={heavy_requests};qu="concurrent-requests"'
        )

    def admit(self, key_id: str) -> str:
        """Count a request of this key, and return the value of its RateLimit header.

        Raises:
            RateLimited: the key has used up its requests of this second.
        """
        if self._requests.left(key_id) < 1:
            seconds = self._requests.wait(key_id)
            raise RateLimited(
                f"this key may make {self._requests.per_second:g} requests a second; try again in {seconds} s",
                headers={"Retry-After": str(seconds), "RateLimit": f'"requests";r=0;t={seconds}'},
            )
        left = self._requests.take(key_id)
        return f'"requests";r={floor(left)};t={ceil((self._requests.size - left) / self._requests.per_second)}'

    def begin_heavy(self, key_id: str) -> Callable[[], None]:
        """Count a heavy request of this key; return a function that ends it.

        Raises:
            RateLimited: the key has as many heavy requests as it may have.
        """
        with self._changing:
            if self._heavy[key_id] >= self._most_heavy:
                raise RateLimited(
                    f"this key may have {self._most_heavy} plots, comparisons, models and other heavy requests at "
                    "once, and has as many; try again when one of them has ended",
                    headers={"Retry-After": "1"},
                )
            self._heavy[key_id] += 1
        return lambda: self._end_heavy(key_id)

    def _end_heavy(self, key_id: str) -> None:
        with self._changing:
            self._heavy[key_id] -= 1
            if not self._heavy[key_id]:
                del self._heavy[key_id]
