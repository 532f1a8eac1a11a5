"""Headers of every response: it is what its Content-Type says, and no cache keeps it unasked."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http_cache import CACHE_CONTROL


class SafeHeaders:
    """ASGI: adds X-Content-Type-Options, and Cache-Control where the response has none."""

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
                # What has a tag may be kept, to be asked for again; anything else is only true now.
                headers.setdefault("Cache-Control", CACHE_CONTROL if "etag" in headers else "no-store")
            await send(message)

        await self._app(scope, receive, safe)
