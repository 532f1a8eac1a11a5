"""Loading in a background thread, so that stop requests need not wait.

A download may take minutes; a stop request may not.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Loading(Generic[T]):
    """A value that one background thread loads once.

    A failed load is retried at the next call.
    """

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._future: Future[T] | None = None
        self._begun = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the last load was started."""
        return monotonic() - self._begun

    def begin(self) -> "Future[T]":
        """Return the current load.

        Start one if there is none, or if the last one failed.
        """
        if self._future is None or (self._future.done() and self._future.exception() is not None):
            self._future = Future()
            self._begun = monotonic()
            # A daemon thread: a process that stops does not wait for it.
            # The copied context keeps the job's fields in its log lines.
            run = copy_context().run
            threading.Thread(target=run, args=(self._run, self._future), name="loading", daemon=True).start()
        return self._future

    def _run(self, future: "Future[T]") -> None:
        try:
            future.set_result(self._load())
        except Exception as error:  # noqa: BLE001 - passed on through the future
            future.set_exception(error)
