"""HTTP methods: HEAD wherever GET works, and what a 405 says is allowed."""

from collections.abc import Sequence

from fastapi import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Where the scope of a HEAD request that is answered as a GET keeps its own method.
_ASKED = "costcurve.method"
# What routing finds out, and what stands around it wants to know.
_ROUTED = ("route", "endpoint", "path_params")


def method_of(scope: Scope) -> str:
    """Return the method that the client sent."""
    method: str = scope.get(_ASKED, scope["method"])
    return method


def allowed_methods(request: Request) -> Sequence[str]:
    """Return the methods that the request's address takes."""
    allowed = []
    for method in _METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            allowed += ["GET", "HEAD"] if method == "GET" else [method]
    return allowed


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET would be, without the body. A long body is not even made."""

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
    """The headers are sent, and so is all that a HEAD request gets."""
