"""Heavy work with bounded concurrency, bounded queues, deadlines and cancellation on disconnect.

Plots, comparisons, long curves, diagnoses and models take up to seconds of CPU time. They have threads of their own,
so that polls and probes never wait for them.
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

# Seconds from the arrival of a heavy request to its response; later, the client is asked to try again (503).
DEADLINE_SECONDS = 30.0
# Heavy requests of one kind that may wait for their turn.
MOST_WAITING = 100
# Responses up to this size in bytes need no room of their own; many plots are smaller.
_SMALL_ANSWER = 256 << 10


class Abandoned(Exception):
    """Signal that the client has disconnected and its work is given up."""


class _Effort:
    """Deadline of one request's work, and whether its client is still connected."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = monotonic() + seconds
        self._is_wanted = True
        self._waiting: CancelScope | None = None

    def check(self) -> None:
        if not self._is_wanted:
            raise Abandoned
        if monotonic() >= self._ends_at:
            raise Overloaded(f"the response was not ready within {self._seconds:g} s; request less, or try again")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Cancel the wait inside when the client disconnects or the deadline passes."""
        self.check()
        with move_on_after(self._ends_at - monotonic()) as self._waiting:
            yield

    async def watch(self, receive: Receive) -> None:
        """Wait until the client disconnects, then cancel the wait in progress."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_wanted = False
        if self._waiting is not None:
            self._waiting.cancel()


_effort: ContextVar[_Effort | None] = ContextVar("effort", default=None)


def check_wanted() -> None:
    """Raise an error if the current work is no longer wanted.

    Long work calls this between its steps.

    Raises:
        Abandoned: the client has disconnected.
        Overloaded: the deadline has passed.
    """
    effort = _effort.get()
    if effort is not None:
        effort.check()


class Room:
    """Memory budget, in bytes, for large bodies. It belongs to one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._changed = asyncio.Condition()
        self.held = 0

    @asynccontextmanager
    async def held_for(self, count: int) -> AsyncIterator[None]:
        """Hold `count` bytes of the room; wait until they are free.

        A body larger than the whole room waits until the room is empty.
        """
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
    """Limit on one kind of heavy work. It belongs to one event loop."""

    def __init__(
        self, room: Room, *, running: int, waiting: int = MOST_WAITING, seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Set the limits of the gate and the memory for its responses.

        Args:
            room: memory for the responses; work keeps its turn until the room has space for its response.
            running: pieces of work that run at once.
            waiting: requests that may wait for their turn.
            seconds: deadline of the work, counted from the arrival of the request.
        """
        self._room = room
        self._free = asyncio.Semaphore(running)
        self._threads = CapacityLimiter(running)
        self._most_waiting = waiting
        self._seconds = seconds
        self.waiting = 0

    async def serve(self, work: Callable[[], Response], scope: Scope, receive: Receive, send: Send) -> None:
        """Make a response in a thread when its turn comes, and send it.

        Nothing is sent to a client that has disconnected.

        Raises:
            Overloaded: too many requests wait, or the deadline has passed.
        """
        async with AsyncExitStack() as held:
            try:
                async with self._attended(receive) as effort, self._turn(effort):
                    response = await to_thread.run_sync(work, limiter=self._threads)
                    # The turn lasts until there is room for the response, so that few responses wait for room.
                    if (size := len(getattr(response, "body", b""))) > _SMALL_ANSWER:
                        await self._within(effort, partial(held.enter_async_context, self._room.held_for(size)))
            except Abandoned:
                return
            await response(scope, receive, send)

    async def step(self, work: Callable[[], T]) -> T:
        """Run one step of a response that has begun, when its turn comes.

        The wait for the turn has no deadline.
        """
        async with self._free:
            return await to_thread.run_sync(work, limiter=self._threads)

    @asynccontextmanager
    async def _attended(self, receive: Receive) -> AsyncIterator[_Effort]:
        """Yield the effort of one request, and watch for its client's disconnect."""
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
        """Await `wait` unless the client disconnects or the deadline passes."""
        done = False
        with effort.waiting():
            await wait()
            done = True
        if not done:
            effort.check()
            raise Overloaded(f"the request waited {self._seconds:g} s for its turn; try again")


class Later(Response):
    """Response that heavy work makes when its turn comes. Headers that are set before are added to it."""

    def __init__(self, gate: Gate, work: Callable[[], Response]) -> None:
        self._gate = gate
        self._work = work
        self.background = None
        self.raw_headers = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gate.serve(self._made, scope, receive, send)

    def _made(self) -> Response:
        response = self._work()
        response.headers.update(self.headers)
        return response


def json_of(answer: BaseModel) -> Response:
    """Return the answer as a JSON response, serialized in the calling thread.

    The framework would serialize it in the event loop's thread, which serves all requests.
    """
    content = answer.__pydantic_serializer__.to_json(answer, by_alias=True)
    return Response(content, media_type="application/json")


class Streamed(StreamingResponse):
    """Response made in pieces, each after the previous one has been sent.

    Each piece waits for its turn at the gate.
    """

    def __init__(self, gate: Gate, pieces: Iterator[str], *, media_type: str) -> None:
        super().__init__(self._turns(gate, pieces), media_type=media_type)

    @staticmethod
    async def _turns(gate: Gate, pieces: Iterator[str]) -> AsyncIterator[str]:
        while (piece := await gate.step(lambda: next(pieces, None))) is not None:
            yield piece
