"""Diagnoses: why a training is slow, and which spec would test the reason."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from costcurve.client.arguments import checked_ids
from costcurve.client.request import Call, as_model, job_path
from costcurve.client.transport import Remote, Steps
from costcurve.client.trial_types import FindingTrial


class Change(BaseModel):
    """A field of the spec that a finding's `cure` changes."""

    model_config = ConfigDict(extra="allow", frozen=True)

    field: str
    before: Any = None
    after: Any = None


class Finding(BaseModel):
    """One explanation of how a training went, with its evidence.

    `cure` is the spec that is most likely to repair the training, and `changes` lists every field in which it differs.
    `isolate` makes the same change and holds the effective learning rate. `confidence` is `certain`, `high` or `low`.
    `trial` is the newest trial of `cure`.
    """

    model_config = ConfigDict(extra="allow", frozen=True, serialize_by_alias=True)

    code: str
    severity: str
    statement: str
    evidence: dict[str, Any]
    cure: dict[str, Any] | None = Field(default=None, alias="try")
    # A service of an older version sends none of these.
    changes: list[Change] = []
    isolate: dict[str, Any] | None = None
    confidence: str | None = None
    trial: FindingTrial | None = None


class Diagnosis(BaseModel):
    """Findings of the service, most severe first, and a summary.

    `summary` has one or two sentences.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    summary: str
    findings: list[Finding]
    start: dict[str, float | None] | None = None

    def finding(self, code: str) -> Finding | None:
        """Return the first finding with this code, or None."""
        return next((finding for finding in self.findings if finding.code == code), None)


def diagnosis(remote: Remote, /, job_id: str) -> Steps[Diagnosis]:
    """Return the diagnosis of the job's training up to now."""
    return remote.answer(Call("GET", job_path(job_id, "/diagnosis"), as_model(Diagnosis)))


def compare_diagnosis(remote: Remote, /, job_ids: Sequence[str]) -> Steps[Diagnosis]:
    """Return a diagnosis of the differences between 2 to 16 jobs.

    It says whether the loss made a difference, and whether the learning rates are comparable.
    """
    call = Call("GET", "/v1/compare/diagnosis", as_model(Diagnosis), query={"job": checked_ids(job_ids)})
    return remote.answer(call)
