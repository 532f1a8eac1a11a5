"""Decisions about a request that got no good answer: send it again, after which pause, until when."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

# A service that has answered before may be restarting. One that never has is probably not there.
RETRY_SECONDS = 30.0
CONNECT_RETRY_SECONDS = 1.0
# For a service that says itself, in Retry-After, when it wants to be asked again.
LONGEST_ASKED = 120.0
_LONGEST_PAUSE = 2.0

# Answers that pass: of a gateway whose service restarts, of a service without its database, of a limit on requests.
TEMPORARY = frozenset(
    {
        httpx.codes.REQUEST_TIMEOUT,
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.BAD_GATEWAY,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.GATEWAY_TIMEOUT,
    }
)
# With these, the service has not begun with the request.
NOT_BEGUN = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})
# A connection that was never made carried nothing.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class RetryBudget:
    """Pauses between sendings of one request, and the moment after which it is not sent again."""

    def __init__(self, start: float, seconds: float, *, deadline: float | None) -> None:
        """`start` and `deadline` are moments of a monotonic clock; nothing is sent again after the deadline."""
        self._start = start
        self._until = start + seconds
        self._deadline = deadline
        self._pauses = _pauses()

    def extend(self, seconds: float) -> None:
        """Send again until at least `seconds` after the start."""
        self._until = max(self._until, self._start + seconds)

    def pause(self, now: float, asked: float | None) -> float | None:
        """Return the pause to make now, `asked` seconds at least; or None if it is too late to send again."""
        pause, until = next(self._pauses), self._until
        if asked is not None:
            pause = max(pause, asked)
            if self._until > self._start:
                until = max(until, self._start + LONGEST_ASKED)
        if self._deadline is not None:
            if now < self._deadline < now + pause and asked is None:
                pause = self._deadline - now  # a last try
            until = min(until, self._deadline)
        return pause if now < now + pause <= until else None


def retry_after(headers: httpx.Headers) -> float | None:
    """Return in how many seconds, 0 or more, Retry-After asks for the next try; None if it says nothing legible.

    A date counts from the answer's own Date, as the two clocks may differ.
    """
    given = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", given):
        return float(given)
    moment = _moment(given)
    if moment is None:
        return None
    return max((moment - (_moment(headers.get("Date", "")) or datetime.now(UTC))).total_seconds(), 0.0)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _pauses() -> Iterator[float]:
    pause = 0.1
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
