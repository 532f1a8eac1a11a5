"""What a worker writes about one job, one thing at a time."""

from costcurve.core.curve import Curve
from costcurve.core.errors import ClaimLost
from costcurve.core.job import Claim, Failure, MnistResult, NeuronResult, Progress, Request
from costcurve.store import JobStore
from costcurve.store.job_update import HandBack, JobOutcome, JobUpdate, Restart


def written(store: JobStore, write: JobUpdate) -> Request | None:
    """The answer to this write; raises LaneLost."""
    [answer] = store.write([write])
    if isinstance(answer, ClaimLost):
        raise answer
    return answer


def record(
    store: JobStore, claim: Claim, progress: Progress, curve: Curve, *, checkpoint: str | None = None
) -> Request | None:
    return written(store, JobUpdate(claim, progress, curve, checkpoint))


def finish(store: JobStore, claim: Claim, result: NeuronResult | MnistResult) -> None:
    _turn(store, claim, result)


def fail(store: JobStore, claim: Claim, failure: Failure) -> None:
    _turn(store, claim, failure)


def hand_back(store: JobStore, claim: Claim, *, reason: str) -> None:
    _turn(store, claim, HandBack(reason))


def restart(store: JobStore, claim: Claim, *, why: str) -> None:
    _turn(store, claim, Restart(why))


def confirm_cancel(store: JobStore, claim: Claim) -> None:
    _turn(store, claim, Request.CANCEL)


def confirm_pause(store: JobStore, claim: Claim) -> None:
    _turn(store, claim, Request.PAUSE)


def _turn(store: JobStore, claim: Claim, turn: JobOutcome) -> None:
    assert written(store, JobUpdate(claim, outcome=turn)) is None
