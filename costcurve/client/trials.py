# ruff: noqa: D417 - the client shows these docstrings, and its callers do not pass `remote`
"""Operations of the client on trials, as steps (transport.py)."""

from collections.abc import Callable
from typing import Any

from costcurve.client.arguments import checked_key, spec_fields
from costcurve.client.jobs import AnyGivenSpec
from costcurve.client.plain_values import plain
from costcurve.client.request import Call, as_model, job_path, sweep_path
from costcurve.client.sweep_types import Sweep
from costcurve.client.sweeps import get_sweep, wait_for_sweep
from costcurve.client.transport import Remote, Steps
from costcurve.client.trial_types import Verdict


def trial(
    remote: Remote,
    /,
    job_id: str,
    *,
    finding: str | None = None,
    change: AnyGivenSpec | None = None,
    repeats: int | None = None,
    looks: int | None = None,
    idempotency_key: str | None = None,
) -> Steps[Sweep]:
    """Train the job's spec as it is and with one change, with the same seeds.

    The sweep returned has two cells: cell 0 as it is, cell 1 changed. `wait_for_verdict` waits for its verdict.

    Args:
        job_id: id of the job.
        finding: code of the finding to test; the first one that proposes a change if None.
        change: fields of the spec to change, instead of what the finding proposes.
        repeats: seeds of each cell, from the job's own on. If None, 5, or 1 if no number depends on the seed.
        looks: most looks at the verdict, 1 to 4, with `extend_trial` in between; 1 if None.
        idempotency_key: as for `submit`.

    Raises:
        ApiError: status 409 if the diagnosis proposes no change; 422 if the change does not fit the job. `errors` then
            lists each rejected field, such as `/try/learning_rate`.
        ServiceUnreachable: as for `submit`.
    """
    given = {
        "finding": plain(finding, "finding"),
        "try": None if change is None else spec_fields(change, "change"),
        "repeats": plain(repeats, "repeats"),
        "looks": plain(looks, "looks"),
    }
    body = {name: value for name, value in given.items() if value is not None}
    path = job_path(job_id, "/trial")
    return remote.answer(Call("POST", path, as_model(Sweep), body=body, key=checked_key(idempotency_key)))


def extend_trial(remote: Remote, /, sweep_id: str, repeats: int) -> Steps[Sweep]:
    """Add seeds to an ended trial that was submitted with several `looks`.

    Args:
        sweep_id: id of the trial's sweep.
        repeats: seeds of each cell in total, those that are trained already included.

    Raises:
        ApiError: status 409 if the trial has not ended, or has been looked at as often as planned.
    """
    body: dict[str, Any] = {"repeats": plain(repeats, "repeats")}
    return remote.answer(Call("POST", sweep_path(sweep_id, "/extend"), as_model(Sweep), body=body))


def verdict(remote: Remote, /, sweep_id: str) -> Steps[Verdict | None]:
    """Return the verdict of a trial; None until all of its jobs have ended, and if the sweep is no trial."""
    found = yield from get_sweep(remote, sweep_id, leaderboard=0)
    return found.verdict


def wait_for_verdict(
    remote: Remote,
    /,
    sweep_id: str,
    *,
    timeout: float | None = None,
    poll: float = 1.0,
    on_update: Callable[[Sweep], object] | None = None,
) -> Steps[Verdict]:
    """Wait until all jobs of the trial have ended, and return its verdict.

    Args:
        sweep_id: id of the trial's sweep.
        timeout: as for `wait_for_sweep`.
        poll: as for `wait_for_sweep`.
        on_update: as for `wait_for_sweep`.

    Raises:
        ValueError: the sweep is no trial.
        SweepWaitTimeout: some of its jobs did not end before the timeout. They continue.
    """
    ended = yield from wait_for_sweep(remote, sweep_id, timeout=timeout, poll=poll, on_update=on_update)
    if ended.verdict is None:
        raise ValueError(f"the sweep {sweep_id} is no trial, so it has no verdict")
    return ended.verdict
