"""Diagnoses of stored jobs, and the stretches of a curve that findings name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from costcurve.analysis.diagnosis import NOT_RECORDED, Diagnosis, diagnose, metrics_diagnosed
from costcurve.core.curve import Granularity
from costcurve.core.job import Job
from costcurve.core.spec import MnistSpec
from costcurve.store import JobStore
from costcurve.store.curve_chunks import Start
from service.curve_reader import Reading


@dataclass(frozen=True, slots=True)
class NamedStretch:
    """An interval of the x axis, both ends included, and its description."""

    first: float
    last: float
    text: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A job, its figures before the first update, and its curve by epochs."""

    job: Job
    start: Start | None
    curve: Reading

    @classmethod
    def of(cls, seen: JobStore, job: Job, curve: Reading | None = None) -> Self:
        """Read what is recorded of a job; `curve` is its loaded curve, of any granularity."""
        if curve is None or curve.granularity != "epoch":
            curve = Reading(seen, [job.id])
            curve.load()
        return cls(job, seen.start(job.id), curve)

    def diagnosis(self) -> Diagnosis:
        """Return the diagnosis of the job.

        There are no findings if an older version recorded fewer metrics than a diagnosis needs.
        """
        metrics = metrics_diagnosed(self.job.spec)
        if not set(metrics or ()) <= set(self.curve.known[0]):
            return Diagnosis(NOT_RECORDED, ())
        return diagnose(self.job, self.start, (run for [run] in self.curve.part([0], metrics).pieces()))


def named_stretches(diagnosis: Diagnosis, job: Job, granularity: Granularity) -> Sequence[NamedStretch]:
    """Return the x intervals of the warnings, for a plot of this granularity."""
    found = []
    for finding in diagnosis.findings:
        evidence, said = finding.evidence, re.split("[:;]", finding.headline)[0].rstrip(".")
        if finding.severity != "warning":
            continue
        if "from_update" in evidence:
            found.append(NamedStretch(evidence["from_update"], evidence["to_update"], said))
        elif "from_epoch" in evidence and isinstance(job.spec, MnistSpec):
            # By epochs, an epoch spans half the way to its neighbours; by steps, all of its steps.
            first, last = evidence["from_epoch"] - 0.5, evidence["to_epoch"] + 0.5
            if granularity == "step":
                steps = job.spec.steps_per_epoch
                first, last = evidence["from_epoch"] * steps, (evidence["to_epoch"] + 1) * steps
            found.append(NamedStretch(first, last, said))
    return found
