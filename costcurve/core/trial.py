"""Trials: a job's spec as it is, and with one change, side by side with the same seeds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from costcurve.core.errors import InvalidRequest, invalid_fields
from costcurve.core.initializers import ConstantInit, ZerosInit
from costcurve.core.job import Job
from costcurve.core.spec import AnySpec, NeuronSpec
from costcurve.core.spec_diff import own_fields
from costcurve.core.sweep import SweepSubmission, planned
from costcurve.core.trial_limits import MAX_LOOKS, MAX_REPEATS, REPEATS
from costcurve.core.validation import FieldError, StrictModel, Text

# The cells of a trial's sweep.
AS_IT_IS, CHANGED = 0, 1

Repeats = Annotated[int, Field(ge=1, le=MAX_REPEATS)]


class TrialRequest(StrictModel):
    """The change to test, and the number of seeds with which to test it."""

    model_config = ConfigDict(serialize_by_alias=True)

    finding: Annotated[Text, Field(max_length=64)] | None = Field(
        default=None,
        description="Code of a finding in the job's diagnosis; its `try` is tested, unless `try` is given. Default: "
        "the first finding that has a `try`.",
    )
    try_: dict[str, Any] | None = Field(
        default=None, alias="try", description="Fields of the spec to change. Default: the finding's own."
    )
    repeats: Repeats | None = Field(
        default=None,
        description=f"Seeds with which both specs are trained, from the job's own on. Default: {REPEATS}, or 1 if no "
        "number depends on the seed.",
    )
    looks: int = Field(
        default=1,
        ge=1,
        le=MAX_LOOKS,
        description="Most looks at the verdict, with seeds added in between. Each has an equal part of the 5 % error.",
    )


class TrialExtension(StrictModel):
    """The number of seeds that a trial shall have."""

    repeats: Repeats = Field(description="Seeds in total, those that are already trained included.")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change to test, and the code of the finding that proposes it; None if a client does."""

    finding: str | None
    changes: Mapping[str, Any]


def trial_submission(job: Job, asked: Mapping[str, str], proposal: Proposal, repeats: int | None) -> SweepSubmission:
    """Return the sweep of a trial: the job's spec in its first cell, the changed one in its second.

    Args:
        job: the job whose spec is changed.
        asked: the engine and the device that the job's client requested.
        proposal: the change.
        repeats: the number of seeds; the default if None.

    Raises:
        InvalidRequest: the change is not valid for this spec, or changes nothing; names each field under `/try`.
    """
    own = own_fields(job.spec)
    changes = {name: value for name, value in proposal.changes.items() if name not in own or own[name] != value}
    if "seed" in changes:
        raise invalid_fields([FieldError("/try/seed", "both specs train with the same seeds; omit it")])
    name = f"trial of {job.id}" + (f": {proposal.finding}" if proposal.finding is not None else "")
    place = {"name": name, "priority": job.priority, "max_runtime_seconds": job.max_runtime_seconds, **asked}
    # The place is the job's own, which was valid when the job was submitted.
    sweep = SweepSubmission(
        spec=own, variants=[{}, changes], repeats=REPEATS if repeats is None else repeats
    ).model_copy(update=place)
    try:
        jobs = planned(sweep)
    except InvalidRequest as error:
        raise invalid_fields([*_under_try(error)]) from error
    if repeats is None and is_deterministic(jobs[AS_IT_IS].submission.spec, jobs[CHANGED].submission.spec):
        return sweep.model_copy(update={"repeats": 1})
    return sweep


def is_deterministic(*specs: AnySpec) -> bool:
    """Return True if no number of these specs depends on the seed."""
    return all(isinstance(spec, NeuronSpec) and isinstance(spec.init, ConstantInit | ZerosInit) for spec in specs)


def _under_try(error: InvalidRequest) -> Iterator[FieldError]:
    """Yield the errors of a trial's sweep with pointers into the request.

    The job's spec is valid, so each error comes from the change.
    """
    variant = f"/variants/{CHANGED}"
    for field in error.errors:
        if field.pointer == variant:
            yield FieldError("/try", "changes nothing: the result is the job's own spec")
        elif field.pointer.startswith((f"{variant}/", "/spec/")):
            rest = field.pointer.removeprefix(variant).removeprefix("/spec")
            yield FieldError(f"/try{rest}", field.message)
        else:
            yield field
