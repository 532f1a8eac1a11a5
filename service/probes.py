"""Checks for machines that poll every few seconds, answered within a deadline.

The deadline holds even if the database hangs.
"""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

from costcurve.core.errors import StoreUnavailable

T = TypeVar("T")

# Seconds for which a result is reused, so that many pollers cost no more than one.
KEEP_SECONDS = 1.0


class Probe(Generic[T]):
    """One blocking check that runs in a thread of its own.

    Callers that arrive while it runs, or less than `KEEP_SECONDS` after its start, share its result. A database that
    never responds therefore holds one thread, independent of the number of calls.
    """

    def __init__(self, ask: Callable[[], T], *, seconds: float) -> None:
        """Set the check and its deadline, without running it.

        Args:
            ask: returns the result; may block.
            seconds: longest wait for the result.
        """
        self._ask = ask
        self._seconds = seconds
        self._asked_at = -inf
        self._thread = CapacityLimiter(1)
        self._asking: asyncio.Task[T] | None = None

    async def answer(self) -> T:
        """Return the result of the check, or raise the error of `ask`.

        Raises:
            StoreUnavailable: there is no result within the deadline.
        """
        stale = monotonic() - self._asked_at >= KEEP_SECONDS
        if self._asking is None or (self._asking.done() and stale):
            self._asked_at = monotonic()
            self._asking = asyncio.create_task(to_thread.run_sync(self._ask, limiter=self._thread))
            self._asking.add_done_callback(_retrieve_error)
        done, _ = await asyncio.wait({self._asking}, timeout=self._seconds)
        if not done:
            late = f"the database did not answer within {self._seconds:g} s"
            raise StoreUnavailable(late, public=late)
        return self._asking.result()


def _retrieve_error(task: asyncio.Task[T]) -> None:
    """Retrieve the error of a check that no caller waits for any more."""
    if not task.cancelled():
        task.exception()
