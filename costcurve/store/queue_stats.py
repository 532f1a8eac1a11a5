"""Queue and worker statistics for Prometheus, read with a few indexed queries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from sqlalchemy import Connection, func, select

from costcurve.core.engines import engine_requests
from costcurve.core.placement import Device
from costcurve.core.status import JobStatus
from costcurve.store.leases import is_not_stopped
from costcurve.store.queue import count_queued, first_in_line
from costcurve.store.schema import jobs, workers


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Statistics of all jobs and workers at one moment.

    `jobs` counts the jobs of each status, `depth` the queued jobs for each requested device ("auto", "cpu", "cuda").
    `age` is the age in seconds of the first queued job for each device, the oldest over its engines; 0 if none is
    queued. `workers` counts the live workers of each device. `heartbeats` has the seconds since the last heartbeat of
    each worker that has not been retired.
    """

    jobs: Mapping[JobStatus, int]
    depth: Mapping[str, int]
    age: Mapping[str, float]
    workers: Mapping[str, int]
    heartbeats: Mapping[str, float]


def read_queue_stats(tx: Connection, now: datetime) -> QueueStats:
    """Return the statistics as this transaction sees the database."""
    counts = tx.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status)).all()
    found = tx.execute(
        select(workers.c.id, workers.c.device, workers.c.heartbeat_at, workers.c.lease_expires_at).where(is_not_stopped)
    ).all()
    alive = [row.device for row in found if row.lease_expires_at is not None and row.lease_expires_at >= now]
    return QueueStats(
        jobs=dict.fromkeys(JobStatus, 0) | {JobStatus(status): count for status, count in counts},
        depth={device: count_queued(tx, device) for device in get_args(Device)},
        age={device: _age(tx, device, engine_requests(), now) for device in get_args(Device)},
        workers={device: alive.count(device) for device in alive},
        heartbeats={row.id: _since(row.heartbeat_at, now) for row in found if row.heartbeat_at is not None},
    )


def _age(tx: Connection, device: str, engines: Iterable[str], now: datetime) -> float:
    submitted = [moment for engine in engines if (moment := first_in_line(tx, device, engine)) is not None]
    return max((_since(moment, now) for moment in submitted), default=0.0)


def _since(moment: datetime, now: datetime) -> float:
    # Never negative: a heartbeat may be written after the clock is read and before the rows are.
    return max((now - moment).total_seconds(), 0.0)
