"""Waiting for the end of something, as steps: it is looked at again and again, quickly at first."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from costcurve.exchange import Pause, Remote, Steps

_FIRST_LOOK_SECONDS = 0.05


class Ending(Protocol):
    """A job, or a sweep."""

    @property
    def is_terminal(self) -> bool: ...


E = TypeVar("E", bound=Ending)


def until_ended(
    remote: Remote,
    look: Callable[[E | None], Steps[E]],
    *,
    timeout: float | None,
    poll: float,
    on_update: Callable[[E], object] | None,
    too_late: Callable[[E, float], Exception],
) -> Steps[E]:
    """What `look` sees, once it has ended.

    Args:
        remote: the service.
        look: told what was seen last, None at first; what it gives is that again if nothing has changed.
        timeout: seconds after which to stop waiting; None waits as long as it takes.
        poll: the longest pause between two looks, in seconds.
        on_update: called at the first look, and whenever something has changed.
        too_late: what to raise then, from what was seen last and the seconds.
    """
    deadline = None if timeout is None else remote.clock() + timeout
    pause = min(_FIRST_LOOK_SECONDS, poll)
    seen: E | None = None
    while True:
        found = yield from look(seen)
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
