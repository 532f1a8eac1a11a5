"""Security headers of every response: no content sniffing, no caching by default."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Caches revalidate their copy at each request; responses belong to one client.
_REVALIDATED = "private, no-cache"


class SafeHeaders:
    """ASGI middleware that adds X-Content-Type-Options and a default Cache-Control."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                # A response with an ETag may be cached and revalidated; any other is valid only now.
                headers.setdefault("Cache-Control", _REVALIDATED if "etag" in headers else "no-store")
            await send(message)

        await self._app(scope, receive, safe)
