"""The JSON of a diagnosis."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.diagnosis import Diagnosis, Finding
from costcurve.analysis.diagnosis.findings import Code, Confidence, Severity
from costcurve.store.trials import Trial
from service.schemas.trials import FindingTrialOut


class ChangeOut(BaseModel):
    """A field of the spec that a finding's `try` changes."""

    field: str = Field(description="Its name, such as `loss` or `init.std`.", examples=["loss"])
    before: Any = Field(description="Its value in the job's spec; null if the spec does not have it.")
    after: Any = Field(description="Its value in the `try`; null if the `try` does not have it.")


class FindingOut(BaseModel):
    """An observation that explains how a training went."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    code: Code
    severity: Severity
    confidence: Confidence = Field(
        description="`certain`: read off the spec or exact figures. `high`: several figures agree. `low`: the "
        "likeliest of several causes."
    )
    statement: str = Field(description="The finding and its reason, in words.")
    evidence: dict[str, Any] = Field(description="The figures of the finding; an infinite ratio is null.")
    try_: dict[str, Any] | None = Field(
        alias="try",
        description="The `spec` that is most likely to repair the training, and so tests the explanation; null if "
        "there is none.",
    )
    changes: list[ChangeOut] = Field(description="Every field in which `try` differs from the job's spec.")
    isolate: dict[str, Any] | None = Field(
        description="The `spec` that makes the same change and holds the effective learning rate, so that one thing "
        "differs; null if that tests nothing."
    )
    trial: FindingTrialOut | None = Field(
        description="The newest trial of this finding, and the outcomes of those before it; null if there is none, "
        "and in comparisons."
    )

    @classmethod
    def of(cls, finding: Finding, trials: Sequence[Trial] = ()) -> Self:
        return cls(
            code=finding.code,
            severity=finding.severity,
            statement=finding.statement,
            evidence=dict(finding.evidence),
            try_=None if finding.cure is None else dict(finding.cure),
            confidence=finding.confidence,
            changes=[
                ChangeOut(field=change.field, before=change.before, after=change.after)
                for change in finding.repair.changes
            ],
            isolate=None if finding.repair.isolate is None else dict(finding.repair.isolate),
            trial=FindingTrialOut.of(trials) if trials else None,
        )


class DiagnosisOut(BaseModel):
    """Explanation of a job's training, the most severe finding first."""

    job_id: str
    summary: str = Field(description="One or two sentences, also if there are no findings.")
    findings: list[FindingOut]
    start: dict[str, float | None] | None = Field(
        description="Metrics of the network before the first update. Null before the job starts, and for a neuron, "
        "whose curve has them at x = 0."
    )

    @classmethod
    def of(cls, job_id: str, diagnosis: Diagnosis, start: Mapping[str, float] | None, trials: Sequence[Trial]) -> Self:
        of_finding: dict[str | None, list[Trial]] = defaultdict(list)
        for trial in trials:
            of_finding[trial.finding].append(trial)
        return cls(
            job_id=job_id,
            summary=diagnosis.summary,
            findings=[FindingOut.of(finding, of_finding[finding.code]) for finding in diagnosis.findings],
            start=None if start is None else dict(start),
        )


class ComparisonDiagnosisOut(BaseModel):
    """Explanation of why several trainings went differently, or did not."""

    job_ids: list[str]
    summary: str
    findings: list[FindingOut]

    @classmethod
    def of(cls, job_ids: Sequence[str], diagnosis: Diagnosis) -> Self:
        findings = [FindingOut.of(finding) for finding in diagnosis.findings]
        return cls(job_ids=list(job_ids), summary=diagnosis.summary, findings=findings)
