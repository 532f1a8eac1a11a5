"""Bounded memory for request bodies, independent of the number of clients."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from anyio import fail_after
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.heavy_work import DEADLINE_SECONDS, MOST_WAITING, Room
from service.http.request_limits import limit_of, takes_images

# Bodies up to this size in bytes need no room; many submissions are smaller.
_SMALL_BYTES = 64 << 10
# Bytes of all larger bodies that are being received or read; bodies with images have a room of their own.
_SUBMISSION_BYTES = 32 << 20
_IMAGE_BYTES = 64 << 20


class BodyMemory:
    """ASGI middleware that receives a body only when there is room for it.

    Bodies with images are read one at a time: as Python numbers, images take five times the memory of their text. The
    room is held until the response begins.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._submissions = Room(_SUBMISSION_BYTES)
        self._images = Room(_IMAGE_BYTES)
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = _size(scope)
        if size <= _SMALL_BYTES:
            await self._app(scope, receive, send)
            return
        with_images = takes_images(scope)
        async with AsyncExitStack() as held:
            begun = False

            async def received() -> Message:
                nonlocal begun
                if not begun:
                    begun = True
                    room = self._images if with_images else self._submissions
                    await self._wait(held, room.held_for(size))
                message = await receive()
                if with_images and message["type"] == "http.request" and not message.get("more_body", False):
                    await self._wait(held, self._turn)
                return message

            async def sent(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await held.aclose()
                await send(message)

            await self._app(scope, received, sent)

    async def _wait(self, held: AsyncExitStack, turn: AbstractAsyncContextManager[None]) -> None:
        """Enter `turn` when it is free, and hold it until the response begins.

        Raises:
            HTTPException: too many requests wait, or the deadline has passed. The framework passes on no other errors.
        """
        if self._waiting >= MOST_WAITING:
            raise HTTPException(
                503, f"{self._waiting} requests with large bodies are waiting; try again in a few seconds"
            )
        self._waiting += 1
        try:
            with fail_after(DEADLINE_SECONDS):
                await held.enter_async_context(turn)
        except TimeoutError as error:
            raise HTTPException(503, f"the request waited {DEADLINE_SECONDS:g} s for its turn; try again") from error
        finally:
            self._waiting -= 1


def _size(scope: Scope) -> int:
    """Return the most bytes that the request's body can have."""
    if scope["type"] != "http":
        return 0
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return limit_of(scope)
    announced = headers.get("content-length", "0")
    return min(int(announced), limit_of(scope)) if announced.isdecimal() else limit_of(scope)
