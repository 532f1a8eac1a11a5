"""How a service is spoken to: what is sent, how often, and when to give up. Nothing here waits or opens a socket.

Every operation of the client is a generator of steps. It yields a request to send or a pause to make, and is given what
came of it; the synchronous and the asynchronous client differ only in how they take these steps (clients.py).
"""

import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeAlias, TypeVar

import httpx

from costcurve.calls import Call
from costcurve.errors import ServiceUnreachable

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"

# A service that has answered before may be restarting. One that never has is probably not there.
PATIENCE_WITH_A_KNOWN_SERVICE = 30.0
PATIENCE_WITH_A_STRANGER = 1.0
_LONGEST_PAUSE = 2.0
_CONNECT_TIMEOUT = 5.0
_USER_AGENT = f"costcurve/{version('costcurve')}"


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for some seconds."""

    seconds: float


Outcome: TypeAlias = httpx.Response | httpx.TransportError | None
Steps: TypeAlias = Generator[httpx.Request | Pause, Outcome, T]


class Remote:
    """The service at one address, and whether it has ever answered."""

    def __init__(self, url: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """The service at `url`; else at COSTCURVE_URL; else on this machine.

        Raises:
            ValueError: the address is not an HTTP URL.
        """
        self.url = _checked(url or os.environ.get("COSTCURVE_URL") or DEFAULT_URL)
        self.clock = clock
        self._has_answered = False

    def answer(self, call: Call[T], *, patience: float | None = None) -> Steps[T]:
        """Send the call until it is answered, or until patience (seconds) is over.

        It is sent again after a transport error, and after a 503.

        Raises:
            ServiceUnreachable: no answer came.
            ApiError: the service refused.
            UnexpectedAnswer: this is not CostCurve's answer.
        """
        if patience is None:
            patience = PATIENCE_WITH_A_KNOWN_SERVICE if self._has_answered else PATIENCE_WITH_A_STRANGER
        deadline = self.clock() + patience
        pauses = _pauses()
        may_have_arrived = False
        while True:
            outcome = yield self._request(call)
            pause = next(pauses)
            may_repeat = self.clock() + pause <= deadline
            match outcome:
                case httpx.Response(status_code=httpx.codes.SERVICE_UNAVAILABLE) if may_repeat:
                    may_have_arrived = True  # its store may have gone away just after it had taken it
                case httpx.Response():
                    self._has_answered |= outcome.status_code != httpx.codes.SERVICE_UNAVAILABLE
                    return call.read(outcome, may_be_done=may_have_arrived)
                case httpx.TransportError():
                    # A connection that was never made carried nothing.
                    never_sent = httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout
                    may_have_arrived |= not isinstance(outcome, never_sent)
                    if not may_repeat:
                        raise self._unreachable(outcome, uncertain=call.creates and may_have_arrived) from outcome
            yield Pause(pause)

    def _request(self, call: Call[T]) -> httpx.Request:
        headers = {"User-Agent": _USER_AGENT, **call.headers}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return httpx.Request(
            call.method,
            self.url + call.target,
            headers=headers,
            content=call.content,
            extensions={"timeout": httpx.Timeout(call.timeout, connect=_CONNECT_TIMEOUT).as_dict()},
        )

    def _unreachable(self, error: httpx.TransportError, *, uncertain: bool) -> ServiceUnreachable:
        late = isinstance(error, httpx.TimeoutException)
        reason = "it took too long" if late else str(error) or type(error).__name__
        return ServiceUnreachable(self.url, reason, uncertain=uncertain)


def _pauses() -> Iterator[float]:
    pause = 0.1
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or (parsed.port or 0) > 65535:
        raise ValueError(f"{url!r} is not an HTTP address such as {DEFAULT_URL}")
    if parsed.query or parsed.fragment:
        raise ValueError(f"{url!r} is not the address of a service: it has a query or a fragment")
    return str(parsed).rstrip("/")
