"""Requests to one service as steps: attempts, retries and timeouts.

Every operation of the client is a generator of steps. It yields a request to send or a pause to make, and receives
the outcome. The synchronous and the asynchronous client differ only in how they execute the steps (client.py). Nothing
in this module waits or opens a socket.
"""

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeAlias, TypeVar

import httpx

from costcurve.client.address import Address
from costcurve.client.api_key import ApiKey
from costcurve.client.errors import CostCurveError, ServiceUnreachable, UnexpectedAnswer
from costcurve.client.request import Call, refusal
from costcurve.client.retry import (
    CONNECT_RETRY_SECONDS,
    NEVER_SENT,
    NOT_BEGUN,
    RETRY_SECONDS,
    TEMPORARY,
    RetryBudget,
    retry_after,
)

T = TypeVar("T")

_CONNECT_TIMEOUT = 5.0
# Seconds: a near deadline does not shorten the timeout of an attempt below this.
_SHORTEST_TIMEOUT = 5.0
# Seconds until a warning is logged: shorter outages are over before a person notices them.
_LOG_AFTER_SECONDS = 2.0
_USER_AGENT = f"costcurve/{version('costcurve')}"

_log = logging.getLogger("costcurve")


@dataclass(frozen=True, slots=True)
class Pause:
    """Step that waits for a number of seconds."""

    seconds: float


Outcome: TypeAlias = httpx.Response | httpx.RequestError | None
Steps: TypeAlias = Generator[httpx.Request | Pause, Outcome, T]


class Remote:
    """Service at one address, and whether it has ever responded.

    `url` is the address without credentials.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: ApiKey | str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the service at `url`, at COSTCURVE_URL, or on this machine.

        Raises:
            TypeError: the address or the key is not text.
            ValueError: the address is not an HTTP URL, or has a password in addition to a key.
            CostCurveError: the file of the stored keys cannot be used.
        """
        self.address = Address.found(url)
        self._key = api_key if isinstance(api_key, ApiKey) else ApiKey.found(api_key, self.address.url)
        # Another process finds a key that was not given in its own environment.
        self._given_key = self._key if api_key else api_key
        if self._key is not None and self.address.credentials:
            raise ValueError(
                f"{self.address.shown!r} has a user or password, and there is a key; both need the Authorization header"
            )
        self.url = self.address.shown
        self.clock = clock
        self._has_answered = False

    @property
    def given(self) -> tuple[str, ApiKey | str | None]:
        """Address and key as the caller gave them, for a copy in another process."""
        return self.address.given, self._given_key

    def answer(self, call: Call[T], *, retry_seconds: float | None = None, deadline: float | None = None) -> Steps[T]:
        """Send the request, retry it where safe, and return its result.

        A repeatable request is retried after a transport error and after a temporary status (408, 429, 502, 503, 504).
        Another request is retried only if the service has certainly not started to process it.

        Args:
            call: the request.
            retry_seconds: seconds during which the request may be retried. If None, RETRY_SECONDS for a service that
                has responded before, and CONNECT_RETRY_SECONDS for another.
            deadline: time on the clock after which there is no further attempt.

        Raises:
            ServiceUnreachable: no response came.
            ApiError: the service refused.
            UnexpectedAnswer: the response is not CostCurve's.
        """
        start = self.clock()
        seconds = RETRY_SECONDS if self._has_answered else CONNECT_RETRY_SECONDS
        left = RetryBudget(start, seconds if retry_seconds is None else retry_seconds, deadline=deadline)
        content = call.content
        may_be_done = is_logged = False
        while True:
            outcome = yield self._request(call, content, deadline)
            begun, asked, trouble = True, None, ""
            match outcome:
                case httpx.Response(status_code=status) if status in TEMPORARY:
                    begun, asked = status not in NOT_BEGUN, retry_after(outcome.headers)
                    trouble = f"answers {status} {outcome.reason_phrase}"
                    if retry_seconds is None:
                        left.extend(RETRY_SECONDS)  # the status shows that a server is there
                case httpx.Response():
                    self._has_answered = True
                    return self._read(call, outcome, may_be_done=may_be_done)
                case httpx.TransportError():
                    begun = not isinstance(outcome, NEVER_SENT)
                    trouble = f"does not answer ({_reason(outcome)})"
                case httpx.RequestError():
                    raise self._in_doubt(call, UnexpectedAnswer(self.url, f"{outcome}"), may_be_done=True) from outcome
            may_be_done |= begun
            pause = left.pause(self.clock(), asked) if call.repeatable or not begun else None
            if pause is None:
                raise self._given_up(call, outcome, may_be_done=may_be_done)
            if not is_logged and self.clock() + pause - start > _LOG_AFTER_SECONDS:
                is_logged = True
                _log.warning("%s %s; retrying", self.url, trouble)
            yield Pause(pause)

    def _read(self, call: Call[T], response: httpx.Response, *, may_be_done: bool) -> T:
        try:
            return call.read(response, may_be_done=may_be_done)
        except UnexpectedAnswer as error:
            raise self._in_doubt(call, error, may_be_done=may_be_done or response.is_success) from error.__cause__

    def _given_up(self, call: Call[T], outcome: Outcome, *, may_be_done: bool) -> CostCurveError:
        error: CostCurveError
        if isinstance(outcome, httpx.Response):
            error = refusal(outcome)
        else:
            error = ServiceUnreachable(self.url, _reason(outcome))
            error.__cause__ = outcome
        return self._in_doubt(call, error, may_be_done=may_be_done)

    def _in_doubt(self, call: Call[T], error: CostCurveError, *, may_be_done: bool) -> CostCurveError:
        if may_be_done and call.leaves_doubt:
            error.doubt(call.key)
        return error

    def _request(self, call: Call[T], content: bytes | None, deadline: float | None) -> httpx.Request:
        key = {} if self._key is None else self._key.headers
        headers = {"User-Agent": _USER_AGENT, **self.address.headers, **key, **call.headers}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        seconds = call.timeout
        if deadline is not None:
            seconds = min(seconds, max(deadline - self.clock(), _SHORTEST_TIMEOUT))
        return httpx.Request(
            call.method,
            self.address.url + call.target,
            headers=headers,
            content=content,
            extensions={"timeout": httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT)).as_dict()},
        )


def _reason(error: Outcome) -> str:
    late = isinstance(error, httpx.TimeoutException)
    return "it took too long" if late else str(error) or type(error).__name__
