"""Workers that hang or are stopped, for good: each is replaced, and its job ends elsewhere."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
from sqlalchemy import Row, select

from costcurve.core.status import JobStatus
from costcurve.store.schema import attempts, jobs, workers
from costcurve.store.transitions import MAX_CRASHES
from tests.chaos.arena import MNIST, Arena, held
from tests.chaos.outcome import Outcome, spread
from tests.helpers import plain_http
from tests.helpers.processes import is_running, until
from workers.lease import LAST_SECONDS
from workers.supervisor import SILENCE

LEASE = "COSTCURVE_LEASE_SECONDS"
# A second or two of training each.
SPECS = [{**MNIST, "epochs": 8, "steps_per_epoch": 1000, "seed": seed} for seed in range(2)]
WORKERS = 2
# Seconds, on a busy machine, by which a hung worker may end later than it should.
SLACK = 5.0


@dataclass(frozen=True)
class _Victim:
    """A worker process that does nothing more, and the claim that it holds."""

    pid: int
    job_id: str
    attempt_pk: int
    since: float


def hangs(arena: Arena, *, count: int) -> Outcome:
    """Let workers hang so many times: stopped altogether, and in a file system that no longer answers, in turn."""
    lease = float(arena.deployment.environment[LEASE])
    arena.learn(SPECS)
    supervisor = arena.deployment.start_workers(processes=WORKERS)
    job_ids: list[str] = []
    problems: list[str] = []
    given_up: list[float] = []
    ended: list[float] = []
    for number in range(count):
        job_ids += arena.submit(max(2 * WORKERS - arena.left(job_ids), 0), SPECS)
        until(arena.worker_pids, lambda pids: len(pids) == WORKERS, timeout=180)
        hang, recover = (_stop, _nothing) if number % 2 == 0 else _file_system(arena, job_ids)
        victim = hang(arena)
        until(lambda victim=victim: _holds(arena, victim), lambda holds: not holds, timeout=200, every=0.01)
        given_up.append(monotonic() - victim.since)
        until(lambda victim=victim: is_running(victim.pid), lambda runs: not runs, timeout=200, every=0.01)
        ended.append(monotonic() - victim.since)
        recover(arena)
    until(arena.worker_pids, lambda pids: len(pids) == WORKERS, timeout=180)
    arena.wait(job_ids, timeout=300)
    problems += arena.audit(job_ids)
    # By the supervisor; or by the worker itself, after somebody has looked for leases that are over and it heard of it.
    bound = max(SILENCE, lease, 2 * lease + LAST_SECONDS) + SLACK * arena.slack
    problems += [f"ended only after {seconds:.1f} s" for seconds in ended if seconds > bound]
    if supervisor.poll() is not None:
        problems.append("the supervisor has ended")
    return held(
        problems,
        hung=count,
        jobs=len(job_ids),
        jobs_given_up_after=spread(given_up),
        process_ended_after=spread(ended),
        bound=f"{bound:g} s",
    )


def _stop(arena: Arena) -> _Victim:
    """SIGSTOP a worker that trains."""

    def stopped() -> _Victim | None:
        pid = arena.random.choice(arena.worker_pids())
        threading.Event().wait(arena.random.uniform(0, 0.3))
        os.kill(pid, signal.SIGSTOP)
        row = _in_hand(arena, workers.c.pid == pid)
        # The third worker in a row that a job loses would be the job's end, and rightly so.
        if row is None or row.crashes + 1 >= MAX_CRASHES:
            os.kill(pid, signal.SIGCONT)
            return None
        return _Victim(pid, row.id, row.attempt_pk, monotonic())

    return until(stopped, bool, every=0.05)


def _nothing(arena: Arena) -> None:
    """A worker that was killed needs nothing more."""


def _file_system(arena: Arena, job_ids: list[str]) -> tuple[Callable[[Arena], _Victim], Callable[[Arena], None]]:
    """Pause a job, so that no worker holds it; the worker that then reads its checkpoint hangs, until it recovers."""

    def paused() -> str | None:
        # A job may end before it has a checkpoint, or before it is paused.
        job_ids.extend(arena.submit(max(2 * WORKERS - arena.left(job_ids), 0), SPECS))
        under_way = _with_checkpoint(arena)
        if not under_way:
            return None
        job_id = arena.random.choice(under_way)
        _post(arena, job_id, "pause")
        until(lambda: _row(arena, job_id).status, lambda status: status != JobStatus.RUNNING, every=0.01)
        return job_id if _row(arena, job_id).status == JobStatus.PAUSED else None

    job_id = until(paused, bool, timeout=120)
    file = arena.deployment.home / "checkpoints" / _row(arena, job_id).checkpoint
    aside = file.with_suffix(".aside")

    def hang(arena: Arena) -> _Victim:
        # Who opens a pipe into which nobody writes waits like who opens a file of a server that is gone.
        file.rename(aside)
        os.mkfifo(file)
        httpx.patch(f"{arena.deployment.url}/v1/jobs/{job_id}", json={"priority": 100}).raise_for_status()
        _post(arena, job_id, "resume")
        row = until(lambda: _in_hand(arena, jobs.c.id == job_id), bool, timeout=120, every=0.01)
        since = monotonic()
        # Nobody else is to meet the pipe: the job is put aside when its worker is given up.
        _post(arena, job_id, "pause")
        return _Victim(row.pid, job_id, row.attempt_pk, since)

    def recover(arena: Arena) -> None:
        aside.rename(file)
        _post(arena, job_id, "resume")

    return hang, recover


def _post(arena: Arena, job_id: str, what: str) -> None:
    answer = plain_http.post(f"{arena.deployment.url}/v1/jobs/{job_id}/{what}")
    assert answer.status_code in (httpx.codes.OK, httpx.codes.ACCEPTED, httpx.codes.CONFLICT), answer.text


def _row(arena: Arena, job_id: str) -> Row[Any]:
    with arena.database.read() as tx:
        return tx.execute(select(jobs.c.status, jobs.c.checkpoint).where(jobs.c.id == job_id)).one()


def _with_checkpoint(arena: Arena) -> list[str]:
    """Return the jobs that are running and have a checkpoint."""
    with arena.database.read() as tx:
        found = select(jobs.c.id).where(jobs.c.status == JobStatus.RUNNING, jobs.c.checkpoint.is_not(None))
        return list(tx.scalars(found.order_by(jobs.c.pk)).all())


def _in_hand(arena: Arena, which: Any) -> Row[Any] | None:
    with arena.database.read() as tx:
        return tx.execute(
            select(jobs.c.id, jobs.c.attempt_pk, jobs.c.crashes, workers.c.pid)
            .join(attempts, attempts.c.pk == jobs.c.attempt_pk)
            .join(workers, workers.c.id == attempts.c.worker_id)
            .where(which, workers.c.stopped_at.is_(None))
        ).one_or_none()


def _holds(arena: Arena, victim: _Victim) -> bool:
    with arena.database.read() as tx:
        return tx.scalar(select(jobs.c.attempt_pk).where(jobs.c.id == victim.job_id)) == victim.attempt_pk
