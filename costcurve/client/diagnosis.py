"""What the client can ask about the reasons: why a training is slow, and what would cure it."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from costcurve.client.arguments import checked_ids
from costcurve.client.request import Call, as_model, job_path
from costcurve.client.transport import Remote, Steps


class Finding(BaseModel):
    """Something that explains how a training went; `cure`, a spec to submit, would test the explanation."""

    model_config = ConfigDict(extra="allow", frozen=True, serialize_by_alias=True)

    code: str
    severity: str
    statement: str
    evidence: dict[str, Any]
    cure: dict[str, Any] | None = Field(default=None, alias="try")


class Diagnosis(BaseModel):
    """What the service has found, the gravest first, and what it comes to in a sentence or two."""

    model_config = ConfigDict(extra="allow", frozen=True)

    summary: str
    findings: list[Finding]
    start: dict[str, float | None] | None = None

    def finding(self, code: str) -> Finding | None:
        """The first finding with this code, if there is one."""
        return next((finding for finding in self.findings if finding.code == code), None)


def diagnosis(remote: Remote, /, job_id: str) -> Steps[Diagnosis]:
    """Why the job's training goes, or went, as it does, as far as it has come."""
    return remote.answer(Call("GET", job_path(job_id, "/diagnosis"), as_model(Diagnosis)))


def compare_diagnosis(remote: Remote, /, job_ids: Sequence[str]) -> Steps[Diagnosis]:
    """What the differences between 2 to 16 jobs come to: whether the loss made one, and whether rates are the same."""
    call = Call("GET", "/v1/compare/diagnosis", as_model(Diagnosis), query={"job": checked_ids(job_ids)})
    return remote.answer(call)
