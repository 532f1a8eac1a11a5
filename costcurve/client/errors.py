"""Errors that the client raises for failed requests and timeouts.

A failed job is not an error of the client: it is returned as a job, with its `error`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from costcurve.client.sweep_types import (
    Sweep,
)
from costcurve.client.types import (
    Job,
)

E = TypeVar("E", bound="CostCurveError")


class CostCurveError(Exception):
    """Base class of the errors that leave the client without a result.

    `uncertain`: the request may have taken effect although this error was raised. If `idempotency_key` is not None, the
    caller can safely send the same submission again with this key.
    """

    uncertain = False
    idempotency_key: str | None = None

    def doubt(self, idempotency_key: str | None) -> None:
        """Record that the request, sent with this key, may have taken effect."""
        self.uncertain = True
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        if not self.uncertain:
            return super().__str__()
        if self.idempotency_key is None:
            return f"{super().__str__()}; the request may have taken effect: check before you repeat it"
        return (
            f"{super().__str__()}; the service may have accepted the job: repeat the submission with the "
            f"idempotency key {self.idempotency_key}, and the job is queued only once"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # By default pickle rebuilds an exception from its text alone, which breaks a process pool.
        return _restored, (type(self), self.args, self.__dict__)


class BadField(NamedTuple):
    """Field that the service rejected: its JSON pointer (`/spec/epochs`), and the reason."""

    pointer: str
    message: str


class ApiError(CostCurveError):
    """Refusal of the request by the service or a gateway before it.

    `code` is stable and documented. `errors` lists rejected fields, and `more_errors` counts those not listed.
    `retry_after` is the pause in seconds that the service asks for; None if it asks for none.
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
            text = f"{text}; retry after {retry_after:,.0f} s"
        super().__init__(text)
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.more_errors = more_errors
        self.retry_after = retry_after


class ServiceUnreachable(CostCurveError):
    """No response from the address, or none before the timeout."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no service answers at {url} ({reason})")
        self.url = url

    def __str__(self) -> str:
        text = super().__str__()
        if self.uncertain:
            return text
        return f"{text}; start one with `costcurve up`, or name another address with --url or COSTCURVE_URL"


class UnexpectedAnswer(CostCurveError):
    """Response from the address that does not look like CostCurve's."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"the server at {url} does not look like a CostCurve service: {what}")
        self.url = url


class Moved(UnexpectedAnswer):
    """Redirect, which the client does not follow. `location` is its target."""

    def __init__(self, url: str, status: int, location: str, base: str | None) -> None:
        if not location:
            advice = "without a location"
        elif base is None:
            advice = f"to {location}"
        else:
            advice = f"to {location}: if that is the service, use --url {base} or COSTCURVE_URL={base}"
        super().__init__(url, f"status {status} redirects {advice}")
        self.location = location


class WaitTimeout(CostCurveError, TimeoutError):
    """Timeout of `wait`: the job has not ended, and continues.

    `job` is its last known state.
    """

    def __init__(self, job: Job, seconds: float) -> None:
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} seconds")
        self.job = job


class SweepWaitTimeout(CostCurveError, TimeoutError):
    """Timeout of `wait_for_sweep`: some jobs have not ended, and continue.

    `sweep` is its last known state.
    """

    def __init__(self, sweep: Sweep, seconds: float) -> None:
        super().__init__(
            f"{sweep.id} has {sweep.total - sweep.ended:,} jobs that have not ended after {seconds:g} seconds"
        )
        self.sweep = sweep


def _restored(kind: type[E], arguments: tuple[Any, ...], state: dict[str, Any]) -> E:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error
