"""Findings, and the diagnosis that they form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]
Code = Literal[
    "output_saturated_quadratic",
    "hidden_layer_slow",
    "plateau",
    "symmetric_init",
    "diverged",
    "start_not_finite",
    "saturated_but_learning",
    "loss_makes_no_difference",
    "loss_makes_the_difference",
    "learning_rate_not_comparable",
]
_ORDER: Sequence[Severity] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that explains how a training went.

    `headline` states it in one sentence, and `explanation` gives the reason. `evidence` has the numbers. `cure` has the
    fields of a spec that would test the explanation; None if there is no such spec.
    """

    code: Code
    severity: Severity
    headline: str
    explanation: str
    evidence: Mapping[str, Any]
    cure: Mapping[str, Any] | None = None

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
