"""Limits on the content of requests, checked before it is read."""

import re

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from costcurve.core.errors import BodyTooLarge, InvalidRequest
from costcurve.core.validation import FieldError
from service.problems import render

MAX_BODY_BYTES = 1 << 20
# Most that `predict` takes: 1,000 images of float64 numbers with all digits, up to 24 characters per number.
MAX_IMAGES_BYTES = 20 << 20
_TAKES_IMAGES = re.compile(r"/v1/jobs/[^/]+/predict")


class BodyLimit:
    """ASGI middleware that refuses a body over the size limit.

    It checks the announced length, and counts the bytes that arrive.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = limit_of(scope)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            await render(Request(scope), BodyTooLarge(_text(limit)))(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # While a body is read, the framework passes on only its own exceptions.
                raise HTTPException(413, _text(limit))
            return message

        await self._app(scope, counted, send)


class RejectNulMiddleware:
    """ASGI middleware that refuses a query with the character 0.

    No database can store that character in a text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"%00" in scope["query_string"]:
            message = "must not contain the NUL character (%00)"
            error = InvalidRequest(f"the query {message}", errors=[FieldError("/query", message)])
            await render(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def takes_images(scope: Scope) -> bool:
    """Return True if the body of this request has images."""
    return _TAKES_IMAGES.fullmatch(scope["path"]) is not None


def limit_of(scope: Scope) -> int:
    """Return the most bytes that the body of this request may have."""
    return MAX_IMAGES_BYTES if takes_images(scope) else MAX_BODY_BYTES


def _text(limit: int) -> str:
    return f"a body may have at most {limit:,} bytes"
