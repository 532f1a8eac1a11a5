"""Polling, as steps, until a job or a sweep has ended."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from costcurve.client.arguments import checked_seconds
from costcurve.client.errors import CostCurveError
from costcurve.client.transport import Pause, Remote, Steps

_FIRST_LOOK_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 3600.0


class Ending(Protocol):
    """Job or sweep: a thing whose state can be terminal."""

    @property
    def is_terminal(self) -> bool: ...


E = TypeVar("E", bound=Ending)


def until_ended(
    remote: Remote,
    look: Callable[[E | None, float | None], Steps[E]],
    *,
    timeout: float | None,
    poll: float,
    on_update: Callable[[E], object] | None,
    too_late: Callable[[E, float], Exception],
) -> Steps[E]:
    """Poll with `look`, and return the first state that has ended.

    Args:
        remote: the service.
        look: returns the current state. It receives the last state (None at first) and the deadline on the client's
            clock (None: no deadline). It returns an equal state if nothing has changed.
        timeout: seconds until the client stops waiting; None waits without limit.
        poll: longest pause between two polls, in seconds, at most 3,600. Pauses grow from 0.05 s by a factor of 1.5.
        on_update: called with the state after the first poll and after each change.
        too_late: makes the error of a timeout from the last state and `timeout`.
    """
    poll = min(checked_seconds(poll, "poll", positive=True), _LONGEST_POLL_SECONDS)
    if on_update is not None and not callable(on_update):
        raise TypeError(f"on_update must be callable, not {type(on_update).__name__}")
    deadline = None if timeout is None else remote.clock() + checked_seconds(timeout, "timeout")
    pause = min(_FIRST_LOOK_SECONDS, poll)
    seen: E | None = None
    while True:
        try:
            found = yield from look(seen, deadline)
        except CostCurveError as error:
            if seen is None or deadline is None or remote.clock() < deadline:
                raise
            raise too_late(seen, timeout or 0) from error
        if on_update is not None and found != seen:
            on_update(found)
        seen = found
        if found.is_terminal:
            return found
        if deadline is not None:
            left = deadline - remote.clock()
            if left <= 0:
                raise too_late(found, timeout or 0)
            pause = min(pause, left)
        yield Pause(pause)
        pause = min(1.5 * pause, poll)
