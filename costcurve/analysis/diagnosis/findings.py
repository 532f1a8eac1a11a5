"""Findings, and the diagnosis that they form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from costcurve.analysis.diagnosis.repair import NO_REPAIR, Repair

Severity = Literal["info", "warning", "error"]
Code = Literal[
    "start_not_finite",
    "symmetric_init",
    "layer_too_narrow",
    "dead_input",
    "output_saturated_quadratic",
    "hidden_layer_slow",
    "diverged",
    "learning_rate_large",
    "learning_rate_small",
    "too_few_updates",
    "lost_class",
    "plateau",
    "saturated_but_learning",
    "loss_makes_no_difference",
    "loss_makes_the_difference",
    "loss_and_rate_make_no_difference",
    "loss_and_rate_make_the_difference",
    "learning_rate_not_comparable",
]
# `certain`: read off the spec or exact figures. `high`: several figures agree. `low`: the likeliest of several causes.
Confidence = Literal["certain", "high", "low"]
_ORDER: Sequence[Severity] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that explains how a training went.

    `headline` states it in one sentence, and `explanation` gives the reason. `evidence` has the numbers. `repair` has
    the specs that would test the explanation.
    """

    code: Code
    severity: Severity
    headline: str
    explanation: str
    evidence: Mapping[str, Any]
    repair: Repair = NO_REPAIR
    confidence: Confidence = "high"

    @property
    def cure(self) -> Mapping[str, Any] | None:
        """Fields of the spec that is most likely to repair the training; None if there is no such spec."""
        return self.repair.fields

    @property
    def statement(self) -> str:
        """Headline and explanation as one text."""
        return f"{self.headline} {self.explanation}"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, the most severe first, and a summary in words."""

    summary: str
    findings: Sequence[Finding]


def diagnosis_of(findings: Iterable[Finding], *, otherwise: str) -> Diagnosis:
    """Return the diagnosis of these findings.

    `otherwise` is its summary if there are no findings.
    """
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    gravest = [finding for finding in ordered if finding.severity != "info"] or ordered
    return Diagnosis(" ".join(finding.headline for finding in gravest) or otherwise, ordered)


def figure(value: float) -> str:
    """Format a number for a sentence: three digits, and no superfluous zeros.

    From 1,000 on all digits before the decimal point are shown.
    """
    if value == inf:
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
