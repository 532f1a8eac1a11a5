"""Port of their own for the metrics, which clients of the service do not reach."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from costcurve.core.errors import NotFound
from service.problems import render

METRICS = "/metrics"


class MetricsPort:
    """ASGI middleware that serves the metrics at one port, and everything else at the others."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] == METRICS) != (scope["server"][1] == self._port):
            error = NotFound("there is no such route at this port")
            await render(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
