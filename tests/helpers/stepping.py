"""The client's steps without a network and without waiting: a clock that moves only as the steps say."""

from typing import Any

import httpx

from costcurve.client.transport import Pause


class SteppingClock:
    """A clock that moves by the pauses that are made and the seconds that a request takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(clock: SteppingClock, steps: Any, *script: Any) -> Any:
    """What the steps come to, when the network gives what the script says, its last word for ever."""
    left, given = list(script), None
    while True:
        try:
            step = steps.send(given)
        except StopIteration as end:
            return end.value
        if isinstance(step, Pause):
            clock.now += step.seconds
            given = None
            continue
        given = left.pop(0) if len(left) > 1 else left[0]
        if callable(given):
            given = given(step)
        if isinstance(given, httpx.Response):
            given.request = step
