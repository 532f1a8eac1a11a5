"""The store against its model: whatever clients and workers do, in whatever order, both must come to the same.

`make test` takes some hundred steps a database; STORE_MODEL_STEPS=10000 takes that many, and tells what it saw:
`STORE_MODEL_STEPS=10000 python -m pytest tests/unit/test_store_model.py --timeout 3600`.
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete

from jobs.curves import Curve
from jobs.errors import ApiError, LaneLost, WorkerRetired
from jobs.job import Claim, Failure, Progress
from jobs.listing import JobQuery
from jobs.settings import LEASE_SECONDS
from jobs.store import JobStore
from jobs.submission import Clone, JobChanges, Submission
from jobs.tables import metadata
from tests.unit.reports import ENGINES, RESULT, mnist_result
from tests.unit.store_model import ENDED, Model

STEPS = int(os.environ.get("STORE_MODEL_STEPS", "400"))
STEPS_PER_STORY = 50
MAX_JOBS = 5

SPECS = {
    "neuron": {"experiment": "neuron"},
    "mnist": {"experiment": "mnist"},
    "mnist/20": {"experiment": "mnist", "batch_size": 20},
}
DEVICES = {"cpu": {"auto": "cpu", "cpu": "cpu"}, "cuda:0": {"auto": "cuda:0", "cuda": "cuda:0"}}

kinds = st.sampled_from(["neuron", "neuron", "mnist", "mnist/20"])
requested_devices = st.sampled_from(["auto", "auto", "cpu", "cuda"])
priorities = st.sampled_from([50, 50, 50, 51, 52, 0, 100])
keys = st.sampled_from([None, None, "a", "b"])
any_of = st.integers(0, 999)  # one of those that there are
seconds = st.sampled_from([0.5, 3.0, LEASE_SECONDS, 61.0])


class Story(RuleBasedStateMachine):
    """One store from its beginning, and the model of it."""

    def __init__(self, store: JobStore, clock: Any, done: Counter) -> None:
        super().__init__()
        self.store, self.clock, self.done = store, clock, done
        self.model = Model()
        self.started = clock.now
        self.workers: dict[str, str] = {}
        self.claims: list[tuple[Claim, int]] = []
        self.ids: list[str] = []
        self.seen: dict[str, Any] = {}
        with store._database.write() as tx:
            for table in reversed(metadata.sorted_tables):
                tx.execute(delete(table))
        for number in range(2):
            self.register_worker(number)

    def step(self, real: Callable[[], object], model: Callable[[], object]) -> None:
        """Do it in both worlds; each must say the same, and look the same afterwards."""
        said, expected = outcome(real), outcome(model)
        assert said == expected
        self.compare()
        self.done["steps"] += 1
        self.done["refused"] += isinstance(said, type)

    def compare(self) -> None:
        listed = {job.id: job for job in self.store.list(JobQuery(limit=1000)).items}
        assert listed.keys() == self.model.jobs.keys()
        places = {job_id: place for place, job_id in enumerate(self.model.queue(), start=1)}
        for job_id, expected in self.model.jobs.items():
            job = listed[job_id]
            assert job.status == expected["status"]
            assert (job.attempt, job.priority) == (expected["attempt"], expected["priority"])
            assert (job.progress.epoch, job.progress.step) == (expected["epoch"], expected["step"])
            assert job.queue_position == places.get(job_id)
            assert self.store.curve(job_id, limit=1000).total_points == expected["curve"]
            events = self.store.events(job_id)
            assert (len(events), events[-1].to_status) == (expected["events"], expected["status"])
            before, now = self.seen.get(job_id), (job.version, dict(expected))
            assert before is None or (now[0] > before[0] if now[1] != before[1] else now[0] >= before[0])
            self.seen[job_id] = now

    def teardown(self) -> None:
        self.done["stories"] += 1
        self.done["jobs"] += len(self.ids)

    # Clients.

    @precondition(lambda self: len(self.model.jobs) < MAX_JOBS)
    @rule(several=st.lists(st.tuples(kinds, requested_devices, priorities, keys), min_size=1, max_size=3))
    def submit(self, several: list[tuple[str, str, int, str | None]]) -> None:
        for kind, device, priority, key in several:
            submission = Submission.model_validate({"spec": SPECS[kind], "device": device, "priority": priority})
            real = partial(self.store.submit, submission, idempotency_key=key)
            self.add(real, (device, kind), priority, key, (kind, device, priority))

    @precondition(lambda self: self.ids and len(self.model.jobs) < MAX_JOBS)
    @rule(which=any_of, priority=st.none() | priorities, key=keys)
    def clone(self, which: int, priority: int | None, key: str | None) -> None:
        job_id = self.one_of(which, self.ids)
        overrides = Clone() if priority is None else Clone(priority=priority)
        original = self.model.jobs.get(job_id, {"shape": None, "priority": None})
        real = partial(self.store.clone, job_id, overrides, idempotency_key=key)
        sent = ("clone", job_id, priority)
        if key not in self.model.keys and job_id not in self.model.jobs:
            self.step(real, lambda: self.model.find(job_id))
        else:
            self.add(real, original["shape"], original["priority"] if priority is None else priority, key, sent)

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

    @precondition(lambda self: self.ids)
    @rule(which=any_of, request=st.sampled_from(["cancel", "pause", "resume"]))
    def ask(self, which: int, request: str) -> None:
        job_id = self.one_of(which, self.ids)
        real, model = getattr(self.store, request), getattr(self.model, request)
        self.step(lambda: real(job_id) and None, lambda: model(self.model.find(job_id)))

    @precondition(lambda self: self.ids)
    @rule(which=any_of, priority=priorities)
    def update(self, which: int, priority: int) -> None:
        job_id = self.one_of(which, self.ids)
        self.step(
            lambda: self.store.update(job_id, JobChanges(priority=priority)) and None,
            lambda: self.model.find(job_id).update(priority=priority),
        )

    @precondition(lambda self: self.ids)
    @rule(which=any_of, ended=st.sampled_from([True, True, False]))
    def delete(self, which: int, ended: bool) -> None:
        over = [job_id for job_id, job in self.model.jobs.items() if job["status"] in ENDED]
        job_id = self.one_of(which, over if ended and over else self.ids)
        self.step(lambda: self.store.delete(job_id), lambda: self.model.delete(job_id))

    # Workers.

    @rule(number=st.integers(0, 2))
    def register_worker(self, number: int) -> None:
        device = "cuda:0" if number == 2 else "cpu"
        name = f"wrk_{len(self.workers)}"
        self.workers[name] = device
        self.step(
            lambda: self.store.register_worker(name, host="here", pid=1, device=device),
            lambda: self.model.workers.update({name: self.model.now + LEASE_SECONDS}),
        )

    @rule(worker=any_of, limit=st.integers(1, 3))
    def claim(self, worker: int, limit: int) -> None:
        self.claim_as(self.one_of(worker, list(self.alive() or self.workers)), limit)

    @rule(worker=any_of)
    def claim_as_anybody(self, worker: int) -> None:
        self.claim_as(self.one_of(worker, list(self.workers)), 1)

    def claim_as(self, name: str, limit: int) -> None:
        devices = DEVICES[self.workers[name]]
        taken: list[Claim] = []

        def real() -> list[tuple[str, int, str | None]]:
            taken.extend(self.store.claim(name, engines=ENGINES, devices=devices, limit=limit))
            return [(each.job_id, each.attempt, each.checkpoint) for each in taken]

        def model() -> list[tuple[str, int, str | None]]:
            pack = [(job_id, self.model.jobs[job_id]) for job_id in self.model.claim(name, tuple(devices), limit)]
            return [(job_id, job["attempt"], file_name(job["checkpoint"])) for job_id, job in pack]

        self.step(real, model)
        self.claims += [(each, self.model.jobs[each.job_id]["lane"]) for each in taken]

    @rule(which=any_of, points=st.integers(0, 3), checkpoint=st.booleans(), stale=st.integers(0, 5))
    def record(self, which: int, points: int, checkpoint: bool, stale: int) -> None:
        def real(claim: Claim) -> object:
            start = self.model.jobs[claim.job_id]["curve"] if claim.job_id in self.model.jobs else 0
            done = start + points
            curve = Curve(start, {"cost": [0.5] * points}) if points else Curve()
            name = file_name(done) if checkpoint else None
            progress = Progress(epoch=done, epochs=300, step=done, steps=300, eta_seconds=None)
            return self.store.record(claim, progress, curve, checkpoint=name)

        self.write(which, stale, real, lambda job: self.model.record(job, points, checkpoint))

    @rule(which=any_of, stale=st.integers(0, 5), end=st.sampled_from(["finish", "fail", "hand back", "begin anew"]))
    def end(self, which: int, stale: int, end: str) -> None:
        def finish(claim: Claim) -> None:
            self.store.finish(claim, RESULT if claim.spec.experiment == "neuron" else mnist_result(9000))

        def finished(job: dict[str, Any]) -> None:
            self.model.finish(job, *((300, 300) if job["shape"][1] == "neuron" else (1, 5000)))

        failure = Failure("diverged", "cost was no longer finite")
        worlds: dict[str, tuple[Callable, Callable]] = {
            "finish": (finish, finished),
            "fail": (lambda claim: self.store.fail(claim, failure), lambda job: self.model.move(job, "failed")),
            "hand back": (lambda claim: self.store.hand_back(claim, reason="told to stop"), self.model.give_back),
            "begin anew": (lambda claim: self.store.restart(claim, why="begins anew"), self.model.restart),
        }
        self.write(which, stale, *worlds[end])

    @rule(which=any_of, stale=st.integers(0, 5), request=st.sampled_from(["cancel", "pause"]))
    def perform(self, which: int, stale: int, request: str) -> None:
        """What a worker does that has been told so, though its client may have changed its mind since."""
        if request == "cancel":
            self.write(which, stale, self.store.confirm_cancel, lambda job: self.model.move(job, "cancelled"))
        else:
            self.write(which, stale, self.store.confirm_pause, self.model.give_back)

    def write(self, which: int, stale: int, real: Callable, model: Callable) -> None:
        """Write with a claim, mostly one that holds still; sometimes with one of the latest that do not."""
        lanes = {job["lane"] for job in self.model.jobs.values()} - {None}
        good = [(claim, lane) for claim, lane in self.claims if lane in lanes]
        lost = [(claim, lane) for claim, lane in self.claims if lane not in lanes][-4:]
        chosen = lost if lost and (stale == 0 or not good) else good
        if chosen:
            claim, lane = self.one_of(which, chosen)
            self.step(lambda: real(claim), lambda: model(self.model.own(claim.job_id, lane)))

    # Those who look after workers.

    @rule(worker=any_of, crashed=st.sampled_from([True, True, False]))
    def retire(self, worker: int, crashed: bool) -> None:
        busy = [name for name in self.workers if any(job["worker"] == name for job in self.model.jobs.values())]
        name = self.one_of(worker, busy or list(self.workers))
        self.step(
            lambda: self.store.retire_worker(name, reason="it ended", crashed=crashed),
            lambda: self.model.retire(name, crashed),
        )

    @rule(worker=any_of, lease=seconds)
    def renew(self, worker: int, lease: float) -> None:
        name = self.one_of(worker, list(self.workers))
        self.step(lambda: self.store.renew_lease(name, seconds=lease), lambda: self.model.renew(name, lease))

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        self.clock.advance(passed)
        self.model.now = (self.clock.now - self.started).total_seconds()
        self.step(lambda: None, lambda: None)

    @rule()
    def reap(self) -> None:
        self.step(lambda: set(self.store.reap(by="somebody")), self.model.reap)

    def alive(self) -> list[str]:
        return [name for name, lease in self.model.workers.items() if lease is not None]

    def one_of(self, number: int, found: list) -> Any:
        return found[number % len(found)]


def file_name(checkpoint: int | None) -> str | None:
    return None if checkpoint is None else f"at-{checkpoint}"


def outcome(work: Callable[[], object]) -> object:
    """What it returns, or the type of what it raises."""
    try:
        return work()
    except (ApiError, LaneLost, WorkerRetired) as error:
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
