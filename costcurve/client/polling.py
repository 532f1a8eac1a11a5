"""Waiting for the end of a job or a sweep, as steps: it is looked at again and again, quickly at first."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from costcurve.client.arguments import checked_seconds
from costcurve.client.errors import CostCurveError
from costcurve.client.transport import Pause, Remote, Steps

_FIRST_LOOK_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 3600.0


class Ending(Protocol):
    """A job, or a sweep."""

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
    """Return what `look` sees, once it has ended.

    Args:
        remote: the service.
        look: given what was seen last, None at first, and the moment by which to give up; it returns the same again if
            nothing has changed.
        timeout: seconds after which to stop waiting; None waits as long as it takes.
        poll: the longest pause between two looks, in seconds.
        on_update: called at the first look, and whenever something has changed.
        too_late: what to raise then, from what was seen last and the seconds.
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
