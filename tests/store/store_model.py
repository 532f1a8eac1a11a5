"""What the job store is supposed to be, without a database: the specification that test_store_model.py holds it to."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from costcurve.core.errors import (
    ClaimLost,
    IdempotencyKeyReused,
    InvalidTransition,
    JobNotFound,
    SweepNotFound,
    WorkerRetired,
)

# Steps of an epoch: some epochs end within a point of the curve by steps.
EPOCH_STEPS = 250
ENDED = ("succeeded", "failed", "cancelled")


class Model:
    """Jobs, workers and keys as plain dictionaries; a lane is a number that a claim gives to a job while it runs."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, float | None] = {}  # until when its lease lasts; None: it was retired
        self.keys: dict[str, tuple[str, object]] = {}
        self.now = 0.0
        self.numbers = count()

    def submit(self, job_id: str, shape: tuple[str, str], priority: int, key: str | None, sent: object) -> bool:
        if key in self.keys:
            if self.keys[key][1] != sent:
                raise IdempotencyKeyReused("")
            return True
        fresh = {"status": "queued", "attempt": 1, "crashes": 0, "solo": False, "events": 1, "lane": None}
        place = {"epoch": 0, "step": 0, "curve": 0, "steps": 0, "checkpoint": None, "worker": None, "request": None}
        own = {"shape": shape, "priority": priority, "born": self.now, "number": next(self.numbers), "sweep": None}
        self.jobs[job_id] = fresh | place | own
        if key is not None:
            self.keys[key] = (job_id, sent)
        return False

    def submit_sweep(self, sweep_id: str, job_ids: list[str], shape: tuple[str, str], priority: int) -> None:
        for repeat, job_id in enumerate(job_ids):
            self.submit(job_id, shape, priority, None, None)
            self.jobs[job_id] |= {"sweep": sweep_id, "repeat": repeat, "sweep_priority": priority}

    def sweep(self, sweep_id: str) -> list[dict[str, Any]]:
        """Of each repeat the newest job."""
        found = {job["repeat"]: job for job in self.jobs.values() if job["sweep"] == sweep_id}
        if not found:
            raise SweepNotFound("")
        return list(found.values())

    def to_retry(self, sweep_id: str) -> list[dict[str, Any]]:
        failed = [job for job in self.sweep(sweep_id) if job["status"] == "failed"]
        return sorted(failed, key=lambda job: job["number"])

    def retry_sweep(self, sweep_id: str, job_ids: list[str]) -> None:
        for job, job_id in zip(self.to_retry(sweep_id), job_ids, strict=True):
            job["events"] += 1
            self.submit(job_id, job["shape"], job["sweep_priority"], None, None)
            self.jobs[job_id] |= {key: job[key] for key in ("sweep", "repeat", "sweep_priority")}

    def find(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise JobNotFound("")
        return self.jobs[job_id]

    def queue(self) -> list[str]:
        waiting = [(job["born"] - 60 * job["priority"], job["number"], job_id) for job_id, job in self.waiting()]
        return [job_id for *_, job_id in sorted(waiting)]

    def waiting(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((job_id, job) for job_id, job in self.jobs.items() if job["status"] == "queued")

    def held(self, worker: str) -> list[str]:
        own = [(job["number"], job_id) for job_id, job in self.jobs.items() if job["worker"] == worker]
        return [job_id for _, job_id in sorted(own)]

    def claim(self, worker: str, devices: tuple[str, ...], limit: int) -> list[str]:
        if held := self.held(worker):
            return held
        fit = [job_id for job_id in self.queue() if self.jobs[job_id]["shape"][0] in devices]
        if fit and self.workers[worker] is None:
            raise WorkerRetired("")
        head = self.jobs[fit[0]] if fit else {}
        alike = [job_id for job_id in fit[1:] if self.jobs[job_id]["shape"] == head["shape"] and not head["solo"]]
        pack = [*fit[:1], *[job_id for job_id in alike if not self.jobs[job_id]["solo"]][: limit - 1]]
        for job_id in pack:
            job = self.jobs[job_id]
            done = job["checkpoint"] or 0
            job |= {
                "worker": worker,
                "lane": next(self.numbers),
                "epoch": done,
                "step": EPOCH_STEPS * done,
                "curve": done,
            }
            job["steps"] = self.step_points(job)
            self.move(job, "running")
        return pack

    def move(self, job: dict[str, Any], status: str) -> None:
        job |= {"status": status, "events": job["events"] + 1}
        if status != "running":
            job |= {"lane": None, "worker": None, "request": None}

    def own(self, job_id: str, lane: int) -> dict[str, Any]:
        job = self.jobs.get(job_id)
        if job is None or job["lane"] != lane:
            raise ClaimLost("")
        return job

    def record(self, job: dict[str, Any], points: int, checkpoint: bool) -> str | None:
        done = job["curve"] + points
        job |= {"curve": done, "epoch": done, "step": EPOCH_STEPS * done}
        job["steps"] = self.step_points(job)
        if checkpoint:
            job |= {"checkpoint": done, "crashes": 0}
        return job["request"]

    def step_points(self, job: dict[str, Any]) -> int:
        """A network's curve has a point for each hundred whole steps; a neuron has no second curve."""
        return 0 if job["shape"][1] == "neuron" else job["step"] // 100

    def restart(self, job: dict[str, Any]) -> None:
        events = job["events"] + (job["checkpoint"] is not None)
        job |= {"curve": 0, "steps": 0, "epoch": 0, "step": 0, "checkpoint": None, "events": events}

    def finish(self, job: dict[str, Any], epoch: int, step: int) -> None:
        job |= {"epoch": epoch, "step": step, "checkpoint": None}
        self.move(job, "succeeded")

    def give_back(self, job: dict[str, Any]) -> None:
        self.move(job, {"cancel": "cancelled", "pause": "paused", None: "queued"}[job["request"]])

    def retire(self, worker: str, crashed: bool) -> None:
        self.workers[worker] = None
        held = [job for job in self.jobs.values() if job["worker"] == worker]
        for job in held:
            if crashed and len(held) > 1:
                job |= {"attempt": job["attempt"] + 1, "solo": True}
            elif crashed:
                job["crashes"] += 1
                if job["crashes"] >= 3 and job["request"] != "cancel":
                    self.move(job, "failed")
                    continue
                job["attempt"] += 1
            self.give_back(job)

    def renew(self, worker: str, seconds: float) -> bool:
        lease = self.workers[worker]
        if lease is None:
            return False
        self.workers[worker] = max(lease, self.now + seconds)
        return True

    def reap(self) -> set[str]:
        over = {worker for worker, lease in self.workers.items() if lease is not None and lease < self.now}
        for worker in over:
            self.retire(worker, crashed=True)
        return over

    def cancel(self, job: dict[str, Any]) -> None:
        if job["status"] == "running":
            self.ask(job, "cancel")
        elif job["status"] in ("queued", "paused"):
            self.move(job, "cancelled")
        elif job["status"] != "cancelled":
            raise InvalidTransition("")

    def cancel_sweep(self, sweep_id: str) -> None:
        for job in self.sweep(sweep_id):
            if job["status"] not in ENDED:
                self.cancel(job)

    def pause(self, job: dict[str, Any]) -> None:
        if job["status"] in ENDED or job["request"] == "cancel":
            raise InvalidTransition("")
        if job["status"] == "running":
            self.ask(job, "pause")
        elif job["status"] == "queued":
            self.move(job, "paused")

    def resume(self, job: dict[str, Any]) -> None:
        if job["status"] in ENDED:
            raise InvalidTransition("")
        if job["request"] == "pause":
            self.ask(job, None)
        elif job["status"] == "paused":
            self.move(job, "queued")

    def ask(self, job: dict[str, Any], request: str | None) -> None:
        if job["request"] != request:
            job |= {"request": request, "events": job["events"] + 1}

    def delete(self, job_id: str) -> None:
        if self.find(job_id)["status"] not in ENDED:
            raise InvalidTransition("")
        del self.jobs[job_id]
        self.keys = {key: (made, sent) for key, (made, sent) in self.keys.items() if made != job_id}
