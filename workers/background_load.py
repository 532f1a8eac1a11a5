"""Loading that does not hold up whoever waits for it: a download may take minutes, a request to stop may not."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Loading(Generic[T]):
    """Something that is loaded once, in a thread of its own, and kept. A failed load is tried anew the next time."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._future: Future[T] | None = None
        self._begun = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the last load was started."""
        return monotonic() - self._begun

    def begin(self) -> "Future[T]":
        """The load that is under way or done; started if there is none, or if the last one failed."""
        if self._future is None or (self._future.done() and self._future.exception() is not None):
            self._future = Future()
            self._begun = monotonic()
            # A daemon: a process that is told to stop does not wait for it.
            # Its log tells, as ours does, for which job that is.
            run = copy_context().run
            threading.Thread(target=run, args=(self._run, self._future), name="loading", daemon=True).start()
        return self._future

    def _run(self, future: "Future[T]") -> None:
        try:
            future.set_result(self._load())
        except Exception as error:  # noqa: BLE001 - it is passed on, not dropped
            future.set_exception(error)
