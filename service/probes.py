"""Questions of machines, asked every few seconds: answered in time, whatever the database does."""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

from costcurve.core.errors import StoreUnavailable

T = TypeVar("T")

# An answer is good for this long: many who ask cost no more than one.
KEEP_SECONDS = 1.0


class Probe(Generic[T]):
    """One question, asked in a thread of its own. Those who ask meanwhile, or soon after, get the same answer.

    So a database that never answers holds one thread, however often it is asked for.
    """

    def __init__(self, ask: Callable[[], T], *, seconds: float) -> None:
        """Prepare the question.

        Args:
            ask: finds the answer; may block.
            seconds: to wait for it at most.
        """
        self._ask = ask
        self._seconds = seconds
        self._asked_at = -inf
        self._thread = CapacityLimiter(1)
        self._asking: asyncio.Task[T] | None = None

    async def answer(self) -> T:
        """Return the answer. Raises StoreUnavailable when none comes in time, and what `ask` raises."""
        stale = monotonic() - self._asked_at >= KEEP_SECONDS
        if self._asking is None or (self._asking.done() and stale):
            self._asked_at = monotonic()
            self._asking = asyncio.create_task(to_thread.run_sync(self._ask, limiter=self._thread))
            self._asking.add_done_callback(_seen)
        done, _ = await asyncio.wait({self._asking}, timeout=self._seconds)
        if not done:
            late = f"the database did not answer within {self._seconds:g} s"
            raise StoreUnavailable(late, public=late)
        return self._asking.result()


def _seen(task: asyncio.Task[T]) -> None:
    """Take note of an error that all who asked have stopped waiting for."""
    if not task.cancelled():
        task.exception()
