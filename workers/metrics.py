"""Prometheus metrics of a worker process, explained in docs/metrics.md.

Steps and outcomes are counted once per transaction, waiting and training times once per job. Nothing is counted step by
step.
"""

from collections import Counter as Count
from collections.abc import Iterable, Sequence

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry

from costcurve.core.job import Claim
from workers.job_run import JobRun

# Seconds: fractions of one for a neuron, hours for a large network.
_TRAINING_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
_WAIT_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
_WRITE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

registry = CollectorRegistry()
_claims = prometheus.Counter("costcurve_claims", "Jobs that workers have claimed.", registry=registry)
_jobs = prometheus.Counter(
    "costcurve_jobs",
    "Jobs that left a worker, by outcome.",
    ["experiment", "engine", "outcome"],
    registry=registry,
)
_steps = prometheus.Counter(
    "costcurve_steps",
    "Recorded weight updates.",
    ["experiment", "engine"],
    registry=registry,
)
_training = prometheus.Histogram(
    "costcurve_training_seconds",
    "Training time of succeeded jobs, over all attempts.",
    ["experiment", "engine"],
    buckets=_TRAINING_BUCKETS,
    registry=registry,
)
_queue_wait = prometheus.Histogram(
    "costcurve_queue_wait_seconds",
    "Time from the submission of a job to its first claim.",
    buckets=_WAIT_BUCKETS,
    registry=registry,
)
store_write = prometheus.Histogram(
    "costcurve_store_write_seconds",
    "Duration of a transaction that records progress and results.",
    buckets=_WRITE_BUCKETS,
    registry=registry,
)
heartbeat_failures = prometheus.Counter(
    "costcurve_heartbeat_failures", "Lease renewals that the store did not take.", registry=registry
)


def claimed(claims: Sequence[Claim]) -> None:
    """Count jobs that a worker has claimed, and their waiting times."""
    if claims:
        _claims.inc(len(claims))
    for claim in claims:
        if claim.waited_seconds is not None:
            _queue_wait.observe(claim.waited_seconds)


def written(job_runs: Iterable[JobRun]) -> None:
    """Count the new steps and outcomes of these jobs.

    Call it after the store has taken an update of each.
    """
    steps: Count[tuple[str, str]] = Count()
    ends: Count[tuple[str, str, str]] = Count()
    for job_run in job_runs:
        kind: tuple[str, str] = job_run.claim.spec.experiment, job_run.claim.engine
        steps[kind] += job_run.take_steps()
        if job_run.outcome is not None:
            ends[*kind, job_run.outcome] += 1
            if job_run.outcome == "succeeded":
                _training.labels(*kind).observe(job_run.elapsed)
    for kind, count in steps.items():
        _steps.labels(*kind).inc(count)
    for end, count in ends.items():
        _jobs.labels(*end).inc(count)
