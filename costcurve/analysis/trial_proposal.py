"""The change that a diagnosis proposes to try."""

from collections.abc import Mapping
from typing import Any

from costcurve.analysis.diagnosis import Diagnosis
from costcurve.core.errors import NothingToTry, invalid_fields
from costcurve.core.trial import Proposal
from costcurve.core.validation import FieldError


def proposal_of(diagnosis: Diagnosis, code: str | None, changes: Mapping[str, Any] | None = None) -> Proposal:
    """Return the change to try for a finding.

    Args:
        diagnosis: the diagnosis of the job.
        code: code of the finding; the first one that proposes a change if None.
        changes: the change to try instead of the finding's own.

    Raises:
        InvalidRequest: the diagnosis has no such finding.
        NothingToTry: the finding, or the whole diagnosis, proposes no change.
    """
    found = [finding for finding in diagnosis.findings if code is None or finding.code == code]
    if code is not None and not found:
        has = ", ".join(dict.fromkeys(finding.code for finding in diagnosis.findings)) or "no findings"
        raise invalid_fields([FieldError("/finding", f"the diagnosis does not have this finding; it has {has}")])
    if changes is not None:
        return Proposal(code, changes)
    for finding in found:
        if finding.cure is not None:
            return Proposal(finding.code, finding.cure)
    silent = "no finding of the diagnosis proposes" if code is None else f"the finding {code} does not propose"
    raise NothingToTry(f"{silent} a change; send the fields to change as `try`")
