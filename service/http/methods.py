"""HTTP methods: HEAD wherever GET works, and the allowed methods of a 405."""

from collections.abc import Sequence

from fastapi import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Key in the scope for the method of a HEAD request that is handled as a GET.
_ASKED = "costcurve.method"
# Keys that routing adds to the scope, and that outer middleware reads.
_ROUTED = ("route", "endpoint", "path_params")


def method_of(scope: Scope) -> str:
    """Return the method that the client sent."""
    method: str = scope.get(_ASKED, scope["method"])
    return method


def allowed_methods(request: Request) -> Sequence[str]:
    """Return the methods that the request's path allows."""
    allowed = []
    for method in _METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            allowed += ["GET", "HEAD"] if method == "GET" else [method]
    return allowed


class HeadAsGet:
    """ASGI middleware that handles HEAD as GET and drops the body.

    It stops at the first part of the body, so that a long body is never made.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET", _ASKED: "HEAD"}

        async def without_body(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            raise _Answered

        try:
            await self._app(as_get, receive, without_body)
        except _Answered:
            pass
        finally:
            scope.update({name: as_get[name] for name in _ROUTED if name in as_get})


class _Answered(Exception):
    """Signal that a HEAD request is complete, as its headers are sent."""
