"""Heavy work: little of it runs at once, a bounded number of requests waits for it, and only while their clients do.

Pictures, comparisons, long curves, diagnoses and models take up to seconds of a processor. They have threads of their
own, so that polls and probes never wait for them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, move_on_after, to_thread
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from costcurve.core.errors import Overloaded

T = TypeVar("T")

# Seconds from the arrival of a heavy request to its answer; those who wait longer are told to come back.
DEADLINE_SECONDS = 30.0
# Heavy requests of a kind that may wait for their turn.
MOST_WAITING = 100
# Bytes of an answer that needs no room of its own: many a picture.
_SMALL_ANSWER = 256 << 10


class Abandoned(Exception):
    """The client of this work has gone; the work is given up."""


class _Effort:
    """How long one request may be worked at: until its deadline, and while its client is there."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = monotonic() + seconds
        self._is_wanted = True
        self._waiting: CancelScope | None = None

    def check(self) -> None:
        if not self._is_wanted:
            raise Abandoned
        if monotonic() >= self._ends_at:
            raise Overloaded("the answer took too long to make; ask for less, or try again")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A wait that ends, by being cancelled, when the client goes or the deadline passes."""
        self.check()
        with move_on_after(self._ends_at - monotonic()) as self._waiting:
            yield

    async def watch(self, receive: Receive) -> None:
        """Wait until the client goes."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_wanted = False
        if self._waiting is not None:
            self._waiting.cancel()


_effort: ContextVar[_Effort | None] = ContextVar("effort", default=None)


def check_wanted() -> None:
    """Stop work that is no longer worth doing; long work calls this between its steps.

    Raises:
        Abandoned: its client has gone.
        Overloaded: its deadline is over.
    """
    effort = _effort.get()
    if effort is not None:
        effort.check()


class Room:
    """Bytes of large answers that may wait in memory for their clients to read them. Belongs to one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._changed = asyncio.Condition()
        self.held = 0

    @asynccontextmanager
    async def held_for(self, count: int) -> AsyncIterator[None]:
        """Hold these bytes; waits until there is room. What is larger than the whole room waits until it is empty."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.held or self.held + count <= self._most_bytes)
            self.held += count
        try:
            yield
        finally:
            with CancelScope(shield=True):
                async with self._changed:
                    self.held -= count
                    self._changed.notify_all()


class Gate:
    """A limit on one kind of heavy work. A gate belongs to one event loop."""

    def __init__(
        self, room: Room, *, running: int, waiting: int = MOST_WAITING, seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Limit the work.

        Args:
            room: for the answers; work begins only while there is some.
            running: pieces of work at once.
            waiting: requests that may wait for their turn.
            seconds: from a request's arrival to the end of its work.
        """
        self._room = room
        self._free = asyncio.Semaphore(running)
        self._threads = CapacityLimiter(running)
        self._most_waiting = waiting
        self._seconds = seconds
        self.waiting = 0

    async def serve(self, work: Callable[[], Response], scope: Scope, receive: Receive, send: Send) -> None:
        """Make a response in a thread when its turn comes, and send it; nothing is sent to a client that has gone.

        Raises:
            Overloaded: too many requests wait, or the deadline passed.
        """
        async with AsyncExitStack() as held:
            try:
                async with self._attended(receive) as effort, self._turn(effort):
                    response = await to_thread.run_sync(work, limiter=self._threads)
                    # The turn lasts until there is room for the answer, so that few answers wait for room.
                    if (size := len(getattr(response, "body", b""))) > _SMALL_ANSWER:
                        await self._within(effort, partial(held.enter_async_context, self._room.held_for(size)))
            except Abandoned:
                return
            await response(scope, receive, send)

    async def step(self, work: Callable[[], T]) -> T:
        """Do one step of an answer that has begun; its turn may take long to come."""
        async with self._free:
            return await to_thread.run_sync(work, limiter=self._threads)

    @asynccontextmanager
    async def _attended(self, receive: Receive) -> AsyncIterator[_Effort]:
        """The effort for one request; notices when its client goes."""
        effort = _Effort(self._seconds)
        watcher = asyncio.create_task(effort.watch(receive))
        token = _effort.set(effort)
        try:
            yield effort
        finally:
            _effort.reset(token)
            watcher.cancel()
            await asyncio.wait({watcher})

    @asynccontextmanager
    async def _turn(self, effort: _Effort) -> AsyncIterator[None]:
        if self.waiting >= self._most_waiting:
            raise Overloaded(f"{self.waiting} requests of this kind are waiting; try again in a few seconds")
        self.waiting += 1
        try:
            await self._within(effort, self._free.acquire)
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    async def _within(self, effort: _Effort, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait for this while the client is there and the deadline has not passed."""
        done = False
        with effort.waiting():
            await wait()
            done = True
        if not done:
            effort.check()
            raise Overloaded(f"no turn came within {self._seconds:g} s; try again")


class Later(Response):
    """A response that heavy work makes when its turn comes."""

    def __init__(self, gate: Gate, work: Callable[[], Response]) -> None:
        self._gate = gate
        self._work = work
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gate.serve(self._work, scope, receive, send)


def json_of(answer: BaseModel, **headers: str) -> Response:
    """The answer as JSON, made here: the framework would make it in the thread that serves everybody.

    Underscores in the names of headers stand for hyphens.
    """
    content = answer.__pydantic_serializer__.to_json(answer, by_alias=True)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(content, media_type="application/json", headers=named)


class Streamed(StreamingResponse):
    """A response that is made piece by piece, each when its turn comes and the one before it has been sent."""

    def __init__(self, gate: Gate, pieces: Iterator[str], *, media_type: str) -> None:
        super().__init__(self._turns(gate, pieces), media_type=media_type)

    @staticmethod
    async def _turns(gate: Gate, pieces: Iterator[str]) -> AsyncIterator[str]:
        while (piece := await gate.step(lambda: next(pieces, None))) is not None:
            yield piece
