"""Diagnoses of stored jobs, and the stretches of a curve that findings name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from costcurve.analysis.diagnosis import NOT_RECORDED, Diagnosis, diagnose, metrics_diagnosed
from costcurve.core.curve import Curve, Granularity
from costcurve.core.job import Job
from costcurve.core.spec import MnistSpec
from costcurve.store import JobStore
from service.curve_reader import Reading


@dataclass(frozen=True, slots=True)
class NamedStretch:
    """An interval of the x axis, both ends included, and its description."""

    first: float
    last: float
    text: str


def read_diagnosis(store: JobStore, job: Job) -> Diagnosis:
    """Return the diagnosis of a job from its recorded curve and initial figures.

    There are no findings if an older version recorded fewer metrics than a diagnosis needs.
    """
    if not set(metrics_diagnosed(job.spec) or ()) <= set(store.curve(job.id, limit=1).known):
        return Diagnosis(NOT_RECORDED, ())
    return diagnose(job, store.start(job.id), curve_chunks(store, job))


def curve_chunks(store: JobStore, job: Job) -> Iterator[Curve]:
    """Yield the job's whole curve in chunks, with the metrics that a diagnosis reads."""
    reading = Reading(store, [job.id], metrics=metrics_diagnosed(job.spec))
    return (chunk for [chunk] in reading.pieces())


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
