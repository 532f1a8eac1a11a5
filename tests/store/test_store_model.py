"""The store against its model: whatever clients and workers do, in whatever order, both must come to the same.

`make test` takes some hundred steps a database; STORE_MODEL_STEPS=10000 takes that many, and tells what it saw:
`STORE_MODEL_STEPS=10000 python -m pytest tests/store/test_store_model.py --timeout 3600`.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import delete, select

from costcurve.core.curve import STEPS_A_POINT, Curve, decode
from costcurve.core.errors import ApiError, ClaimLost, WorkerRetired
from costcurve.core.job import Claim, Failure, Progress, Request
from costcurve.core.submission import Clone, JobChanges, Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store import JobStore
from costcurve.store.job_update import HandBack, JobOutcome, JobUpdate, Restart
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import jobs, metadata, projects, step_runs
from tests.helpers.reports import ENGINES, RESULT, choose, mnist_result
from tests.store.store_model import ENDED, EPOCH_STEPS, Model

STEPS = int(os.environ.get("STORE_MODEL_STEPS", "200"))
STEPS_PER_STORY = 100
MAX_JOBS = 10

SPECS = {
    "neuron": {"experiment": "neuron"},
    "mnist": {"experiment": "mnist"},
    "mnist/20": {"experiment": "mnist", "batch_size": 20},
}
DEVICES = {"cpu": {"auto": "cpu", "cpu": "cpu"}, "cuda:0": {"auto": "cuda:0", "cuda": "cuda:0"}}

kinds = st.sampled_from(["neuron"] * 4 + ["mnist", "mnist/20"])
requested_devices = st.sampled_from(["auto"] * 4 + ["cpu", "cuda"])
priorities = st.sampled_from([50, 50, 50, 51, 52, 0, 100])
keys = st.sampled_from([None, None, None, "a", "b"])
seconds = st.sampled_from([0.5, 3.0, LEASE_SECONDS, 61.0])

Draw = Callable[[st.SearchStrategy], Any]


class Story(RuleBasedStateMachine):
    """One store from its beginning, and the model of it."""

    def __init__(self, store: JobStore, clock: Any, done: Counter) -> None:
        super().__init__()
        self.store, self.clock, self.done = store, clock, done
        self.model = Model()
        self.started = clock.now
        self.workers: dict[str, str] = {}
        self.claims: list[tuple[Claim, int]] = []
        # How lanes ended by what was written.
        self.ends: dict[int, JobOutcome] = {}
        self.ids: list[str] = []
        self.sweeps: list[str] = []
        self.seen: dict[str, Any] = {}
        with store._database.write() as tx:
            for table in reversed(metadata.sorted_tables):
                if table is not projects:  # a database is never without the project `default`
                    tx.execute(delete(table))
        for device in ("cpu", "cuda:0"):
            self.register_worker(device)
            self.queue("neuron", "auto", 50, None)
        self.queue_sweep("neuron", "auto", 51, 2)

    # One rule, as hypothesis leaves out half of all rules in each story, and one without claims would tell little.
    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        often = [self.claim] * bool(self.model.queue()) + [self.record, self.end] * bool(self.held())
        sometimes = [self.submit, self.ask, self.retire, self.perform]
        seldom = [self.claim, self.clone, self.update, self.delete, self.register, self.renew, self.time_passes]
        seldom += [self.submit_sweep, *[self.cancel_sweep, self.retry_sweep] * bool(self.sweeps)]
        often += [self.retry_sweep] * bool(self.with_failed_jobs())
        happens = pick(data.draw, [*often * 4, *sometimes * 2, *seldom, self.reap])
        note(happens.__name__)
        happens(data.draw)

    def step(self, real: Callable[[], object], model: Callable[[], object]) -> None:
        """Do it in both worlds; each must say the same, and look the same afterwards."""
        said, expected = outcome(real), outcome(model)
        assert said == expected
        self.compare()
        self.done["steps"] += 1
        self.done["refused"] += isinstance(said, type)

    def compare(self, *, everything: bool = False) -> None:
        """All jobs as they are listed; and curve and events, which cost more, of those that have changed."""
        listed = {job.id: job for job in self.store.list(JobQuery(limit=1000)).items}
        assert listed.keys() == self.model.jobs.keys()
        places = {job_id: place for place, job_id in enumerate(self.model.queue(), start=1)}
        for job_id, expected in self.model.jobs.items():
            job = listed[job_id]
            assert job.status == expected["status"]
            assert (job.attempt, job.priority) == (expected["attempt"], expected["priority"])
            assert (job.progress.epoch, job.progress.step) == (expected["epoch"], expected["step"])
            assert job.queue_position == places.get(job_id)
            version, before = self.seen.get(job_id, (0, None))
            assert job.version > version if expected != before else job.version >= version
            if everything or job.version > version:
                assert self.store.curve(job_id, limit=1000).total_points == expected["curve"]
                assert self.recorded_steps(job_id) == list(range(expected["steps"]))
                events = self.store.events(job_id)
                assert (len(events), events[-1].to_status) == (expected["events"], expected["status"])
            self.seen[job_id] = (job.version, dict(expected))
        for sweep_id in self.sweeps:
            assert outcome(partial(self.counted, sweep_id)) == outcome(partial(self.expected_counts, sweep_id))

    def recorded_steps(self, job_id: str) -> list[float]:
        with self.store._database.read() as tx:
            found = tx.execute(
                select(step_runs.c.first_x, step_runs.c.metrics, step_runs.c.data)
                .join(jobs, jobs.c.pk == step_runs.c.job_pk)
                .where(jobs.c.id == job_id)
                .order_by(step_runs.c.first_x)
            )
            runs = [decode(run.data, start=run.first_x, metrics=run.metrics.split(",")) for run in found]
        return Curve.joined(runs).series.get("cost", [])

    def counted(self, sweep_id: str) -> dict[str, int]:
        return {status.value: count for status, count in self.store.sweep(sweep_id).counts.items() if count}

    def expected_counts(self, sweep_id: str) -> dict[str, int]:
        return dict(Counter(job["status"] for job in self.model.sweep(sweep_id)))

    def teardown(self) -> None:
        self.compare(everything=True)
        self.done["stories"] += 1
        self.done["jobs"] += len(self.ids)

    # Clients.

    def submit(self, draw: Draw) -> None:
        living = [job for job in self.model.jobs.values() if job["status"] not in ENDED]
        if len(living) < MAX_JOBS / 2 and len(self.model.jobs) < MAX_JOBS:
            self.queue(draw(kinds), draw(requested_devices), draw(priorities), draw(keys))

    def queue(self, kind: str, device: str, priority: int, key: str | None) -> None:
        submission = Submission.model_validate({"spec": SPECS[kind], "device": device, "priority": priority})
        real = partial(self.store.submit, submission, idempotency_key=key)
        self.add(real, (device, kind), priority, key, (kind, device, priority))

    def submit_sweep(self, draw: Draw) -> None:
        count = draw(st.integers(1, 3))
        if len(self.model.jobs) + count <= MAX_JOBS:
            self.queue_sweep(draw(kinds), draw(requested_devices), draw(priorities), count)

    def queue_sweep(self, kind: str, device: str, priority: int, count: int) -> None:
        submission = SweepSubmission(spec=SPECS[kind], device=device, priority=priority, repeats=count)
        made: list[str] = []

        def real() -> None:
            self.sweeps.append(self.store.submit_sweep(submission).sweep.id)
            page = self.store.list(JobQuery(sweep_id=self.sweeps[-1], order="created_at"))
            made.extend(job.id for job in page.items)

        self.step(real, lambda: self.model.submit_sweep(self.sweeps[-1], made, (device, kind), priority))
        self.ids += made

    def cancel_sweep(self, draw: Draw) -> None:
        sweep_id = pick(draw, self.sweeps)
        self.step(lambda: self.store.cancel_sweep(sweep_id) and None, lambda: self.model.cancel_sweep(sweep_id))

    def retry_sweep(self, draw: Draw) -> None:
        sweep_id = pick(draw, self.with_failed_jobs() or self.sweeps)
        wanted = outcome(lambda: self.model.to_retry(sweep_id))
        if isinstance(wanted, list) and len(self.model.jobs) + len(wanted) > MAX_JOBS + 5:
            return
        made: list[str] = []

        def real() -> None:
            self.store.retry_sweep(sweep_id)
            page = self.store.list(JobQuery(sweep_id=sweep_id, order="created_at"))
            made.extend(job.id for job in page.items if job.id not in self.ids)

        self.step(real, lambda: self.model.retry_sweep(sweep_id, made))
        self.ids += made
        self.done["jobs retried"] += len(made)

    def with_failed_jobs(self) -> list[str]:
        failed = {job["sweep"] for job in self.model.jobs.values() if job["status"] == "failed"}
        return [sweep_id for sweep_id in self.sweeps if sweep_id in failed and self.model.to_retry(sweep_id)]

    def clone(self, draw: Draw) -> None:
        job_id, priority, key = pick(draw, self.ids), draw(st.none() | priorities), draw(keys)
        overrides = Clone() if priority is None else Clone(priority=priority)
        real = partial(self.store.clone, job_id, overrides, idempotency_key=key)
        if key not in self.model.keys and job_id not in self.model.jobs:
            self.step(real, lambda: self.model.find(job_id))
        elif len(self.model.jobs) < MAX_JOBS:
            original = self.model.jobs.get(job_id, {"shape": None, "priority": None})
            own = original["priority"] if priority is None else priority
            self.add(real, original["shape"], own, key, ("clone", job_id, priority))

    def add(self, real: Callable, shape: tuple[str, str], priority: int, key: str | None, sent: object) -> None:
        made = []

        def submitted() -> bool:
            made.append(real())
            return made[0].replayed

        def expected() -> bool:
            job_id = made[0].job.id if made else ""
            replayed = self.model.submit(job_id, shape, priority, key, sent)
            assert not replayed or self.model.keys[key][0] == job_id
            return replayed

        self.step(submitted, expected)
        if made and made[0].job.id not in self.ids:
            self.ids.append(made[0].job.id)

    def ask(self, draw: Draw) -> None:
        request = draw(st.sampled_from(["pause", "pause", "resume", "resume", "cancel"]))
        fit = {"pause": ("running",), "resume": ("running", "paused"), "cancel": ("running", "paused", "queued")}[
            request
        ]
        likely = [job_id for job_id, job in self.model.jobs.items() if job["status"] in fit]
        job_id = pick(draw, likely if likely and draw(st.integers(0, 3)) else self.ids)
        real, model = getattr(self.store, request), getattr(self.model, request)
        self.step(lambda: real(job_id) and None, lambda: model(self.model.find(job_id)))

    def update(self, draw: Draw) -> None:
        job_id, priority = pick(draw, self.ids), draw(priorities)
        self.step(
            lambda: self.store.update(job_id, JobChanges(priority=priority)) and None,
            lambda: self.model.find(job_id).update(priority=priority),
        )

    def delete(self, draw: Draw) -> None:
        over = [job_id for job_id, job in self.model.jobs.items() if job["status"] in ENDED]
        job_id = pick(draw, over or self.ids)
        self.step(lambda: self.store.delete(job_id), lambda: self.model.delete(job_id))

    # Workers.

    def register(self, draw: Draw) -> None:
        self.register_worker(draw(st.sampled_from(["cpu", "cuda:0"])))

    def register_worker(self, device: str) -> None:
        name = f"wrk_{len(self.workers)}"
        self.workers[name] = device
        self.step(
            lambda: self.store.register_worker(name, host="here", pid=1, device=device),
            lambda: self.model.workers.update({name: self.model.now + LEASE_SECONDS}),
        )

    def claim(self, draw: Draw) -> None:
        alive = [name for name, lease in self.model.workers.items() if lease is not None]
        idle = [name for name in alive if not self.model.held(name)]
        if len(alive) < 2 or not idle:
            self.register(draw)
        else:
            # Any worker: one that was retired, or one that holds jobs, as if its last claim had been lost on the way.
            is_any = draw(st.integers(0, 9)) == 9
            self.claim_as(pick(draw, list(self.workers) if is_any else idle), draw(st.integers(1, 3)))

    def claim_as(self, name: str, limit: int) -> None:
        devices = DEVICES[self.workers[name]]
        taken: list[Claim] = []

        def real() -> list[tuple[str, int, str | None]]:
            taken.extend(self.store.claim(name, engines=ENGINES, devices=devices, choose=choose(limit)))
            return [(each.job_id, each.attempt, each.checkpoint) for each in taken]

        def model() -> list[tuple[str, int, str | None]]:
            pack = [(job_id, self.model.jobs[job_id]) for job_id in self.model.claim(name, tuple(devices), limit)]
            return [(job_id, job["attempt"], file_name(job["checkpoint"])) for job_id, job in pack]

        self.step(real, model)
        lanes = [(each, self.model.jobs[each.job_id]["lane"]) for each in taken]
        self.claims += [lane for lane in lanes if lane not in self.claims]

    def record(self, draw: Draw) -> None:
        self.write(draw, lambda claim: self.progress(draw, claim))

    def end(self, draw: Draw) -> None:
        def turn(claim: Claim) -> JobUpdate:
            turns: list[JobOutcome] = [RESULT if claim.spec.experiment == "neuron" else mnist_result(9000)]
            turns += [
                Failure("diverged", "cost was no longer finite"),
                HandBack("told to stop"),
                Restart("begins anew"),
            ]
            chosen = pick(draw, [*turns, *turns[1:] * 2])
            if isinstance(chosen, Restart) or draw(st.booleans()):
                return JobUpdate(claim, outcome=chosen)
            return replace(self.progress(draw, claim), outcome=chosen)

        self.write(draw, turn)

    def perform(self, draw: Draw) -> None:
        """What a worker does that has been told so, though its client may have changed its mind since."""
        asked = [lane for lane in self.held() if self.model.jobs[lane[0].job_id]["request"] is not None]
        request = draw(st.sampled_from(Request))
        self.write(draw, lambda claim: JobUpdate(claim, outcome=request), lanes=asked)

    def progress(self, draw: Draw, claim: Claim) -> JobUpdate:
        points, checkpoint = draw(st.integers(0, 3)), draw(st.booleans())
        start = self.model.jobs[claim.job_id]["curve"] if claim.job_id in self.model.jobs else 0
        done = start + points
        curve = Curve(start, {"cost": [0.5] * points}) if points else Curve()
        progress = Progress(epoch=done, epochs=300, step=EPOCH_STEPS * done, steps=300 * EPOCH_STEPS, eta_seconds=None)
        begun, ended = (EPOCH_STEPS * epochs // STEPS_A_POINT for epochs in (start, done))
        numbers = list(map(float, range(begun, ended))) if claim.spec.experiment == "mnist" else []
        steps = Curve(begun, {"cost": numbers}) if numbers else Curve()
        return JobUpdate(claim, progress, curve, file_name(done) if checkpoint else None, steps=steps)

    def write(self, draw: Draw, made: Callable[[Claim], JobUpdate], *, lanes: list | None = None) -> None:
        """Write with one claim or a few, mostly such as hold still; sometimes with one of the latest that do not."""
        held = self.held()
        lost = [lane for lane in self.claims if lane not in held][-4:]
        stale = lost and (not held or draw(st.integers(0, 7)) == 7)
        if not (chosen := lost if stale else lanes or held):
            return
        batch = [pick(draw, chosen)]
        for lane in held:
            if lane not in batch and draw(st.integers(0, 2)) == 2:
                batch.append(lane)
        writes = [made(claim) for claim, _ in batch]

        def real() -> list[object]:
            return [ClaimLost if isinstance(said, ClaimLost) else said for said in self.store.write(writes)]

        def model() -> list[object]:
            return [
                outcome(partial(self.model_write, write, lane)) for write, (_, lane) in zip(writes, batch, strict=True)
            ]

        self.done["lanes written"] += len(batch)
        self.step(real, model)

    def model_write(self, write: JobUpdate, lane: int) -> str | None:
        """The same in the model."""
        if write.claim.job_id in self.model.jobs and lane in self.ends and self.ends[lane] == write.outcome:
            return None  # written before, as if the answer had been lost
        job = self.model.own(write.claim.job_id, lane)
        if write.progress is not None:
            self.model.record(job, len(write.curve), write.checkpoint is not None)
        if write.outcome is not None and not isinstance(write.outcome, Restart):
            self.ends[lane] = write.outcome
        match write.outcome:
            case None:
                return job["request"]
            case Failure():
                self.model.move(job, "failed")
            case Request.CANCEL:
                self.model.move(job, "cancelled")
            case HandBack() | Request.PAUSE:
                self.model.give_back(job)
            case Restart():
                self.model.restart(job)
            case _:
                self.model.finish(job, *((300, 300) if job["shape"][1] == "neuron" else (1, 5000)))
        return None

    def held(self) -> list[tuple[Claim, int]]:
        lanes = {job["lane"] for job in self.model.jobs.values()}
        return [(claim, lane) for claim, lane in self.claims if lane in lanes]

    # Those who look after workers.

    def retire(self, draw: Draw) -> None:
        busy = {job["worker"] for job in self.model.jobs.values()} - {None}
        name = pick(draw, sorted(busy) or list(self.workers))
        crashed = draw(st.sampled_from([True, True, False]))
        self.step(
            lambda: self.store.retire_worker(name, reason="it ended", crashed=crashed),
            lambda: self.model.retire(name, crashed),
        )

    def renew(self, draw: Draw) -> None:
        name, lease = pick(draw, list(self.workers)), draw(seconds)
        self.step(lambda: self.store.renew_lease(name, seconds=lease), lambda: self.model.renew(name, lease))

    def time_passes(self, draw: Draw) -> None:
        self.clock.advance(draw(seconds))
        self.model.now = (self.clock.now - self.started).total_seconds()
        self.step(lambda: None, lambda: None)

    def reap(self, _draw: Draw) -> None:
        self.step(lambda: set(self.store.reap(by="somebody")), self.model.reap)


def pick(draw: Draw, found: Sequence[Any]) -> Any:
    """One of these; by number, so that a story is the same each time, though jobs have other ids."""
    return found[draw(st.integers(0, len(found) - 1))]


def file_name(checkpoint: int | None) -> str | None:
    return None if checkpoint is None else f"at-{checkpoint}"


def outcome(work: Callable[[], object]) -> object:
    """What it returns, or the type of what it raises."""
    try:
        return work()
    except (ApiError, ClaimLost, WorkerRetired) as error:
        return type(error)


def test_the_store_does_what_its_model_does(opened, clock, capsys):
    database = opened()
    store = JobStore(database, clock=clock)
    done: Counter = Counter()
    few = settings(
        max_examples=max(1, min(50, STEPS // STEPS_PER_STORY)),
        stateful_step_count=STEPS_PER_STORY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
        report_multiple_bugs=False,
    )
    for number in range(STEPS):  # the same stories each time, and as many as it takes
        if done["steps"] >= STEPS:
            break
        run_state_machine_as_test(seed(number)(partial(Story, store, clock, done)), settings=few)

    assert done["steps"] >= STEPS
    if "STORE_MODEL_STEPS" in os.environ:
        with capsys.disabled():
            shown = ", ".join(f"{count:,} {what}" for what, count in done.items())
            print(f"\nstore model, {database.engine.dialect.name}: {shown}; 0 differences")  # noqa: T201
