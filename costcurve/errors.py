"""What can go wrong for a client. A job that failed is no error here: it is a job, with its `error`."""

from collections.abc import Sequence
from typing import NamedTuple

from costcurve.answers import Job, Sweep


class CostCurveError(Exception):
    """Anything that kept the client from an answer."""


class BadField(NamedTuple):
    """One field that the service did not accept: where it is (`/spec/epochs`), and why."""

    pointer: str
    message: str


class ApiError(CostCurveError):
    """The service refused the request. `code` is stable, and documented; `errors` names each bad field."""

    def __init__(self, *, code: str, status: int, title: str, detail: str, errors: Sequence[BadField] = ()) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)


class ServiceUnreachable(CostCurveError):
    """No answer came from the address, or none in time."""

    def __init__(self, url: str, reason: str, *, uncertain: bool = False) -> None:
        """`uncertain`: the request may have had its effect although no answer came back."""
        advice = (
            "the service may have accepted the job or not: look at `costcurve list` before submitting again"
            if uncertain
            else "start one with `costcurve up`, or name another address with --url or COSTCURVE_URL"
        )
        super().__init__(f"no service answers at {url} ({reason}); {advice}")
        self.url = url
        self.uncertain = uncertain


class UnexpectedAnswer(CostCurveError):
    """Something answers at the address, but not as CostCurve would."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"what answers at {url} does not look like a CostCurve service: {what}")
        self.url = url


class WaitTimeout(CostCurveError, TimeoutError):
    """The job has not ended in the time given; it goes on. `job` is its last known state."""

    def __init__(self, job: Job, seconds: float) -> None:
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} seconds")
        self.job = job


class SweepWaitTimeout(CostCurveError, TimeoutError):
    """Some jobs of the sweep have not ended in the time given; they go on. `sweep` is its last known state."""

    def __init__(self, sweep: Sweep, seconds: float) -> None:
        super().__init__(f"{sweep.id} has {sweep.total - sweep.ended:,} jobs that go on after {seconds:g} seconds")
        self.sweep = sweep
