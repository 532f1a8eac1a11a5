"""`diagnose`: reasons why jobs learn slowly, and changes that would test them."""

import json

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from costcurve.cli.arguments import JobsArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.output import write_json, write_rich
from costcurve.client.diagnosis import Diagnosis
from costcurve.client.trial_types import FindingTrial
from costcurve.core.text import printable


def diagnose(job_ids: JobsArgument, service: ServiceOptions) -> None:
    """Explain why a job learns slowly, and propose changes that would test it.

    With several jobs, explain the effect of their differences.
    """
    with service.client() as client:
        found = client.diagnosis(job_ids[0]) if len(job_ids) == 1 else client.compare_diagnosis(job_ids)
    if service.as_json:
        write_json(found)
    else:
        write_rich(described(found))


def described(diagnosis: Diagnosis) -> RenderableType:
    """Return a diagnosis as text: summary, findings, specs that would test them, and what came out of them."""
    parts: list[RenderableType] = [_text(diagnosis.summary)]
    for finding in diagnosis.findings:
        sure = f" (confidence: {finding.confidence})" if finding.confidence else ""
        parts += [_text(f"\n{finding.severity}: {finding.code}{sure}"), _indented(finding.statement)]
        if finding.cure is not None:
            parts.append(_indented(f"to try it: {json.dumps(finding.cure)}"))
        for change in finding.changes:
            parts.append(_indented(f"  {change.field}: {json.dumps(change.before)} → {json.dumps(change.after)}"))
        if finding.isolate is not None and finding.isolate != finding.cure:
            parts.append(_indented(f"at the same effective rate: {json.dumps(finding.isolate)}"))
        if finding.trial is not None:
            parts.append(_indented(trial_text(finding.trial)))
    return Group(*parts)


def trial_text(trial: FindingTrial) -> str:
    """Return a line on the trials of a finding: the newest one's verdict, if it has one, and the earlier outcomes."""
    before = f" {_earlier(trial)}" if trial.earlier else ""
    if trial.verdict is None:
        return f"on trial: `costcurve sweep watch {trial.sweep_id}` shows its progress.{before}"
    if trial.earlier:
        count = len(trial.earlier) + 1
        return f"tried {count} times; the newest ({trial.sweep_id}): {trial.verdict.statement}{before}"
    return f"tried ({trial.sweep_id}): {trial.verdict.statement}"


def _earlier(trial: FindingTrial) -> str:
    """Return the outcomes of the trials before the newest, the oldest first."""
    outcomes = ((each.sweep_id, each.outcome or "not ended") for each in trial.earlier)
    return "Before it: " + ", ".join(f"{said.replace('_', ' ')} ({sweep_id})" for sweep_id, said in outcomes) + "."


def _indented(text: str) -> RenderableType:
    return Padding(_text(text), (0, 0, 0, 2), expand=False)


def _text(text: str) -> Text:
    return Text(printable(text, keep="\n"))
