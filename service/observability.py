"""Around each request: an id for it, a line in the log, and its part in the metrics."""

import logging
import secrets
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from costcurve.core.text import shortened
from costcurve.runtime import logging as logs
from service.metrics import Metrics

log = logging.getLogger(__name__)

# Under which the routes of the application lie, but for probes and documentation.
VERSION_PREFIX = "/v1"
REQUEST_ID = "X-Request-ID"
_MAX_ID_LENGTH = 128
# Asked every few seconds, by machines.
_PROBES = {"/healthz", "/readyz", "/metrics"}
_UNMATCHED = "unmatched"
# The client went before there was an answer.
_NO_ANSWER = 499


class ObservabilityMiddleware:
    """ASGI: the application, observed. Outside of all that answers, so that it sees the answers to defects as well."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID))
        # For good: the server gives each request a task of its own, and logs a defect in it when we are done.
        logs.bind({"request_id": request_id})
        status = _NO_ANSWER

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        started = monotonic()
        try:
            with self._metrics.in_flight.track_inprogress():
                await self._app(scope, receive, noted)
        except Exception:
            status = 500  # what the server answers where nothing else does
            raise
        finally:
            seconds = monotonic() - started
            route = _route(scope)
            self._metrics.answered(scope["method"], route, status, seconds)
            _log(scope, route, status, seconds)


def _request_id(given: str | None) -> str:
    """The client's, if it can be shown as it is; a new one otherwise."""
    if given and len(given) <= _MAX_ID_LENGTH and all("!" <= character <= "~" for character in given):
        return given
    return "req_" + secrets.token_hex(10)


def _route(scope: Scope) -> str:
    """The template of the route that took the request: paths themselves are without number."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return _UNMATCHED
    # A route knows its path within its router, and not under which prefix that was included.
    return VERSION_PREFIX + path if scope["path"].startswith(f"{VERSION_PREFIX}/") else path


def _log(scope: Scope, route: str, status: int, seconds: float) -> None:
    milliseconds = round(1000 * seconds, 1)
    fields = {"method": scope["method"], "route": route, "status": status, "milliseconds": milliseconds}
    if (job_id := scope.get("path_params", {}).get("job_id")) is not None:
        fields["job_id"] = shortened(job_id, _MAX_ID_LENGTH)
    level = logging.DEBUG if route in _PROBES else logging.INFO
    log.log(level, "%s %s: %d in %.1f ms", scope["method"], route, status, milliseconds, extra=fields)
