"""Errors of the client. A job that failed is no error here: it is a job, with its `error`."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from costcurve.client.types import Job, Sweep

E = TypeVar("E", bound="CostCurveError")


class CostCurveError(Exception):
    """Anything that kept the client from an answer.

    `uncertain`: the request may have had its effect although this error came. Then the same submission with
    `idempotency_key`, if that is not None, is safe to send again.
    """

    uncertain = False
    idempotency_key: str | None = None

    def doubt(self, idempotency_key: str | None) -> None:
        """Note that the request, sent with this key, may have had its effect."""
        self.uncertain = True
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        if not self.uncertain:
            return super().__str__()
        if self.idempotency_key is None:
            return f"{super().__str__()}; it may have been done or not: look before you do it again"
        return (
            f"{super().__str__()}; the service may have accepted the job or not: the same submission with the "
            f"idempotency key {self.idempotency_key} gives its answer, and queues nothing twice"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is otherwise made again from its text alone, which breaks a process pool.
        return _restored, (type(self), self.args, self.__dict__)


class BadField(NamedTuple):
    """One field that the service did not accept: where it is (`/spec/epochs`), and why."""

    pointer: str
    message: str


class ApiError(CostCurveError):
    """The service, or a gateway before it, refused the request.

    `code` is stable, and documented; `errors` names bad fields, `more_errors` counts those that are not named;
    `retry_after` is in how many seconds the service asks to be tried again, if it says so.
    """

    def __init__(
        self,
        *,
        code: str,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[BadField] = (),
        more_errors: int = 0,
        retry_after: float | None = None,
    ) -> None:
        text = f"{title}: {detail}" if detail else title
        if retry_after is not None:
            text = f"{text}; it asks to be tried again in {retry_after:,.0f} s"
        super().__init__(text)
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.more_errors = more_errors
        self.retry_after = retry_after


class ServiceUnreachable(CostCurveError):
    """No answer came from the address, or none in time."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no service answers at {url} ({reason})")
        self.url = url

    def __str__(self) -> str:
        text = super().__str__()
        if self.uncertain:
            return text
        return f"{text}; start one with `costcurve up`, or name another address with --url or COSTCURVE_URL"


class UnexpectedAnswer(CostCurveError):
    """Something answers at the address, but not as CostCurve would."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"what answers at {url} does not look like a CostCurve service: {what}")
        self.url = url


class Moved(UnexpectedAnswer):
    """The address answers with a redirect, which is not followed: `location` is where it points."""

    def __init__(self, url: str, status: int, location: str, base: str | None) -> None:
        if not location:
            advice = "without saying where to"
        elif base is None:
            advice = f"to {location}"
        else:
            advice = f"to {location}: if that is the service, use --url {base} or COSTCURVE_URL={base}"
        super().__init__(url, f"status {status} redirects {advice}")
        self.location = location


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


def _restored(kind: type[E], arguments: tuple[Any, ...], state: dict[str, Any]) -> E:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error
