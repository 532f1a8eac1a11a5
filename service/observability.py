"""Request ids, log lines and metrics for each request."""

import logging
import secrets
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from costcurve.core.text import shortened
from costcurve.runtime import logging as logs
from service.http.keys import known_caller
from service.http.proxies import address_of
from service.metrics import Metrics

log = logging.getLogger(__name__)

# Prefix of all routes except probes and documentation.
VERSION_PREFIX = "/v1"
REQUEST_ID = "X-Request-ID"
_MAX_ID_LENGTH = 128
# Machines request these every few seconds.
_PROBES = {"/healthz", "/readyz", "/metrics"}
_UNMATCHED = "unmatched"
# Logged if the client disconnects before the response begins.
_NO_ANSWER = 499


class ObservabilityMiddleware:
    """ASGI middleware that logs and measures each request.

    It is the outermost layer, so that it also sees the responses to defects.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID))
        # Never unbound: the server gives each request its own task, and logs a defect there after this returns.
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
            status = 500  # the server's response if there is no other
            raise
        finally:
            seconds = monotonic() - started
            route = _route(scope)
            self._metrics.answered(scope["method"], route, status, seconds)
            _log(scope, route, status, seconds)


def _request_id(given: str | None) -> str:
    """Return the client's request id, or a new one.

    The client's id is used if it is printable ASCII without spaces and not too long.
    """
    if given and len(given) <= _MAX_ID_LENGTH and all("!" <= character <= "~" for character in given):
        return given
    return "req_" + secrets.token_hex(10)


def _route(scope: Scope) -> str:
    """Return the template of the matched route, as paths are unbounded in number."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return _UNMATCHED
    # A route knows its path within its router, but not the prefix of that router.
    return VERSION_PREFIX + path if scope["path"].startswith(f"{VERSION_PREFIX}/") else path


def _log(scope: Scope, route: str, status: int, seconds: float) -> None:
    milliseconds = round(1000 * seconds, 1)
    fields = {"method": scope["method"], "route": route, "status": status, "milliseconds": milliseconds}
    fields["address"] = shortened(address_of(scope), _MAX_ID_LENGTH)
    if (caller := known_caller(scope)) is not None:
        fields |= {"project": caller.project, "key": caller.key_name}
    if (job_id := scope.get("path_params", {}).get("job_id")) is not None:
        fields["job_id"] = shortened(job_id, _MAX_ID_LENGTH)
    level = logging.DEBUG if route in _PROBES else logging.INFO
    log.log(level, "%s %s: %d in %.1f ms", scope["method"], route, status, milliseconds, extra=fields)
