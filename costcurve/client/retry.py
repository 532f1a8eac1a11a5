"""Retry policy: retryable responses, pauses, and the time limit."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

# Seconds. A service that has responded before may be restarting. One that never has is probably not there.
RETRY_SECONDS = 30.0
CONNECT_RETRY_SECONDS = 1.0
# Seconds after the first attempt, for a service that sends Retry-After.
LONGEST_ASKED = 120.0
_LONGEST_PAUSE = 2.0

# Temporary: from a gateway whose service restarts, a service without its database, or a rate limit.
TEMPORARY = frozenset(
    {
        httpx.codes.REQUEST_TIMEOUT,
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.BAD_GATEWAY,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.GATEWAY_TIMEOUT,
    }
)
# With these, the service has not started to process the request.
NOT_BEGUN = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})
# Without a connection, nothing of the request was sent.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class RetryBudget:
    """Pauses between attempts of one request, and the time limit for them."""

    def __init__(self, start: float, seconds: float, *, deadline: float | None) -> None:
        """Start the budget: retry for `seconds` after `start`, never after the deadline.

        `start` and `deadline` are seconds on a monotonic clock.
        """
        self._start = start
        self._until = start + seconds
        self._deadline = deadline
        self._pauses = _pauses()

    def extend(self, seconds: float) -> None:
        """Allow retries until at least `seconds` after the start."""
        self._until = max(self._until, self._start + seconds)

    def pause(self, now: float, asked: float | None) -> float | None:
        """Return the pause before the next attempt in seconds; None to stop.

        The pause is at least `asked` seconds, the value of Retry-After.
        """
        pause, until = next(self._pauses), self._until
        if asked is not None:
            pause = max(pause, asked)
            if self._until > self._start:
                until = max(until, self._start + LONGEST_ASKED)
        if self._deadline is not None:
            if now < self._deadline < now + pause and asked is None:
                pause = self._deadline - now  # one last attempt at the deadline
            until = min(until, self._deadline)
        return pause if now < now + pause <= until else None


def retry_after(headers: httpx.Headers) -> float | None:
    """Return the pause that Retry-After asks for, in seconds, at least 0.

    None if the header is missing or cannot be read. A date is compared with the response's own Date header, because the
    clocks of client and service may differ.
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
