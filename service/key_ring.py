"""Look-up of the callers that keys belong to, with a cache of a few seconds.

It belongs to one event loop. Only `forget` may be called from other threads.
"""

import asyncio
import hashlib
import ipaddress
import re
import threading
from collections.abc import Callable
from time import monotonic

from anyio import CapacityLimiter, to_thread
from cachetools import LRUCache, TTLCache

from costcurve.core.access import Caller
from costcurve.core.errors import RateLimited, Unauthorized
from service.key_limits import TokenBuckets

# Seconds for which another process of the service may still accept a key that was revoked or has expired.
KEEP_SECONDS = 5.0
_MOST_KEPT = 10_000
# Look-ups at once; each takes one of the database's connections.
_LOOK_UPS = 4
# A key has 60 characters.
_MAX_HEADER = 200
_BEARER = re.compile(r"(?i)bearer +(cck_[0-9a-f]{12}_[A-Za-z0-9_-]{43})")

# The same text for a key that is missing, malformed, unknown, revoked or expired.
_REFUSAL = (
    "this address needs a valid key in the header `Authorization: Bearer cck_…`; `costcurve login` stores one for the "
    "command line and the Python client"
)


class KeyRing:
    """Callers of keys, as the store knows them."""

    def __init__(
        self,
        authenticate: Callable[[str], Caller | None],
        *,
        failures_per_minute: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Set where keys are looked up, and how many may fail.

        Args:
            authenticate: returns the caller that a key belongs to, or None if the key is not valid; may block.
            failures_per_minute: keys that are not valid, from one address.
            clock: monotonic seconds.
        """
        self._authenticate = authenticate
        self._failures = TokenBuckets(failures_per_minute / 60, size=failures_per_minute, clock=clock)
        self._callers: TTLCache[bytes, Caller] = TTLCache(_MOST_KEPT, KEEP_SECONDS, timer=clock)
        # Keys that were valid in this process. Other keys that fail from the same address do not lock them out.
        self._proven: LRUCache[bytes, None] = LRUCache(_MOST_KEPT)
        self._generation = 0
        self._changing = threading.Lock()
        self._threads = CapacityLimiter(_LOOK_UPS)
        self._pending: dict[tuple[int, bytes], asyncio.Task[Caller | None]] = {}

    async def caller_of(self, authorization: list[str], address: str) -> Caller:
        """Return the caller of a request with these Authorization headers.

        Args:
            authorization: one entry for each header line.
            address: IP address of the client.

        Raises:
            Unauthorized: there is no valid key.
            RateLimited: too many keys from this address were not valid.
            StoreUnavailable: the key cannot be looked up.
        """
        secret = _secret_in(authorization)
        if secret is None:
            raise unauthorized()
        digest = hashlib.sha256(secret.encode()).digest()
        with self._changing:
            kept = self._callers.get(digest)
            is_proven = digest in self._proven
        if kept is not None:
            return kept
        origin = _origin_of(address)
        if not is_proven and self._failures.left(origin) < 1:
            seconds = self._failures.wait(origin)
            raise RateLimited(
                f"too many keys from this address were not valid; try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
        caller = await asyncio.shield(self._looked_up(digest, secret))
        if caller is None:
            self._failures.take(origin)
            raise unauthorized()
        return caller

    def forget(self) -> None:
        """Look up every key again, as one of them was revoked."""
        with self._changing:
            self._generation += 1
            self._callers.clear()

    def _looked_up(self, digest: bytes, secret: str) -> "asyncio.Task[Caller | None]":
        """Return the look-up of this key that is in progress, or a new one."""
        name = (self._generation, digest)
        task = self._pending.get(name)
        if task is None:
            task = self._pending[name] = asyncio.create_task(self._look_up(digest, secret, self._generation))
            task.add_done_callback(lambda done: self._done(name, done))
        return task

    async def _look_up(self, digest: bytes, secret: str, generation: int) -> Caller | None:
        caller = await to_thread.run_sync(self._authenticate, secret, limiter=self._threads)
        with self._changing:
            if caller is None:
                self._proven.pop(digest, None)
            elif generation == self._generation:
                self._callers[digest] = caller
                self._proven[digest] = None
        return caller

    def _done(self, name: tuple[int, bytes], task: "asyncio.Task[Caller | None]") -> None:
        del self._pending[name]
        if not task.cancelled():
            task.exception()  # its requests may all have gone


def unauthorized() -> Unauthorized:
    """Return the error of every request without a valid key."""
    return Unauthorized(_REFUSAL, headers={"WWW-Authenticate": "Bearer"})


def _secret_in(authorization: list[str]) -> str | None:
    """Return the key in the Authorization header; None if there is not exactly one well-formed key."""
    if len(authorization) != 1 or len(authorization[0]) > _MAX_HEADER:
        return None
    found = _BEARER.fullmatch(authorization[0].strip())
    return found[1] if found is not None else None


def _origin_of(address: str) -> str:
    """Return the name under which failures of this address count.

    One client may use all addresses of an IPv6 network of 64 bits.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
