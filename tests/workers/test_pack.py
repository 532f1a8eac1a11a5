"""A worker with many neurons in hand at once: each is one client's job, whatever becomes of the others."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from costcurve.core.errors import WorkerError
from costcurve.core.spec import NeuronSpec
from costcurve.core.status import JobStatus
from tests.helpers.processes import until
from workers import job_run, loop
from workers.checkpoints import Checkpoints
from workers.engines import neuron_pack
from workers.lease import Lease
from workers.loop import Worker

SHORT = {"experiment": "neuron", "init": "normal"}
# Minutes of training: it is stopped by the test, never by its end.
LONG = {**SHORT, "epochs": 1_000_000}
DIVERGES = {**SHORT, "init": "zeros", "input": 1e200, "learning_rate": 1e200}


class Crew:
    """One worker after the other on a store, each in a thread of its own."""

    def __init__(self, store, folder) -> None:
        self.store = store
        self.checkpoints = Checkpoints(folder)
        self._number = 0
        self._ends: list = []

    def start(self) -> None:
        self._number += 1
        name = f"wrk_{self._number}"
        self.store.register_worker(name, host="here", pid=1, device="cpu", lease_seconds=60)
        stop, lease = threading.Event(), Lease(self.store, name, seconds=60)
        lease.start()
        trainer = Worker(
            self.store,
            worker_id=name,
            device="cpu",
            images=lambda _: pytest.fail("a neuron needs no images"),
            checkpoints=self.checkpoints,
            lease=lease,
            stop=stop,
        )
        thread = threading.Thread(target=trainer.run)
        thread.start()
        self._ends.append((stop, thread, lease))

    def stop(self) -> None:
        """As SIGTERM does."""
        while self._ends:
            stop, thread, lease = self._ends.pop()
            stop.set()
            thread.join()
            lease.stop()

    def ended(self, job):
        return until(lambda: self.store.get(job.id), lambda seen: seen.is_terminal)

    def is_training(self, job) -> bool:
        seen = self.store.get(job.id)
        return seen.status is JobStatus.RUNNING and seen.progress.step > 0


@pytest.fixture
def crew(store, tmp_path) -> Iterator[Crew]:
    crew = Crew(store, tmp_path / "checkpoints")
    yield crew
    crew.stop()


def curve(store, job) -> dict[str, list[float]]:
    return store.curve(job.id, limit=1_000_000).curve.series


def expected(spec: NeuronSpec) -> dict[str, list[float]]:
    """The curve of a training of its own."""
    series: dict[str, list[float]] = {}
    for report in neuron_pack.train_pack([spec], device=torch.device("cpu"))[0]:
        for metric, values in report.curve.series.items():
            series.setdefault(metric, []).extend(values)
    return series


def test_each_of_a_pack_comes_to_its_own_end(crew, submit):
    short = [submit({**SHORT, "seed": seed}) for seed in range(70)]
    diverging, overtime = submit(DIVERGES), submit(LONG, max_runtime_seconds=0.5)
    cancelled, paused = submit({**LONG, "seed": 1}), submit({**LONG, "seed": 2})
    crew.start()

    ended = [crew.ended(job) for job in short]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert {(job.engine, job.attempt, job.status_reason) for job in ended} == {("neuron_pack", 1, None)}
    for job in (ended[0], ended[33], ended[-1]):
        assert curve(crew.store, job) == expected(job.spec)
        assert job.result.final_cost == curve(crew.store, job)["cost"][-1]
    failed = crew.ended(diverging)
    assert (failed.error.code, curve(crew.store, failed)["output"]) == ("diverged", [0.5])
    assert "after 1 updates" in failed.error.message

    until(lambda: crew.is_training(cancelled), bool)
    crew.store.cancel(cancelled.id)
    assert crew.ended(cancelled).status is JobStatus.CANCELLED
    crew.store.pause(paused.id)
    until(lambda: crew.store.get(paused.id), lambda job: job.status is JobStatus.PAUSED)
    assert crew.ended(overtime).error.code == "timed_out"
    for job in (cancelled, paused, overtime):
        kept = crew.store.get(job.id).progress
        assert 0 < kept.step == crew.store.curve(job.id, limit=1).total_points


def test_a_pack_that_is_handed_back_goes_on_bit_for_bit(crew, submit, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_INTERVAL", 0.01)
    monkeypatch.setattr(job_run, "RECORD_INTERVAL", 0.0)
    monkeypatch.setattr(job_run, "_RECORD_SHARE", 0)
    jobs = [submit({**SHORT, "epochs": 6_000 + seed, "seed": seed}) for seed in range(4)]
    crew.start()
    for _ in range(2):
        until(lambda: crew.is_training(jobs[0]), bool)
        crew.stop()
        crew.start()

    for job in jobs:
        ended = crew.ended(job)
        assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 1)
        assert curve(crew.store, job) == expected(job.spec)
        places = [event.why for event in crew.store.events(job.id) if event.to_status is JobStatus.RUNNING]
        assert len(places) == 3
        assert all(", from step " in why for why in places[1:])


def test_lanes_without_time_for_a_last_checkpoint_are_handed_back_all_the_same(crew, submit, monkeypatch):
    monkeypatch.setattr(job_run, "_LAST_CHECKPOINTS", 0.0)
    monkeypatch.setattr(job_run, "CHECKPOINT_INTERVAL", 3600.0)
    job = submit({**SHORT, "epochs": 200_000})
    crew.start()
    until(lambda: crew.is_training(job), bool)
    crew.stop()
    handed_back = crew.store.get(job.id)
    crew.start()

    assert (handed_back.status, handed_back.attempt) == (JobStatus.QUEUED, 1)
    until(lambda: crew.is_training(job), bool)
    assert crew.store.events(job.id)[-1].why == "attempt 1, with neuron_pack on cpu, from the beginning"
    crew.store.cancel(job.id)


def test_a_defect_of_a_program_fails_its_jobs_and_not_the_worker(crew, submit, monkeypatch):
    def defect(*_: object, **__: object) -> object:
        raise ZeroDivisionError("a defect")

    jobs = [submit({**SHORT, "seed": seed}) for seed in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(neuron_pack, "train_pack", defect)
        crew.start()
        assert {crew.ended(job).error.code for job in jobs} == {WorkerError.code}

    assert crew.ended(submit(SHORT)).status is JobStatus.SUCCEEDED


class Device:
    """One that has memory for this many neurons at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.packs: list[int] = []

    def train_pack(self, specs, **given):
        self.packs.append(len(specs))
        if len(specs) > self.room:
            torch.empty(10**15)
        return train_pack(specs, **given)


train_pack = neuron_pack.train_pack


def test_a_pack_that_needs_too_much_memory_is_halved_until_it_fits(crew, submit, monkeypatch):
    device = Device(room=8)
    monkeypatch.setattr(neuron_pack, "train_pack", device.train_pack)
    jobs = [submit({**SHORT, "seed": seed}) for seed in range(20)]
    crew.start()
    ended = [crew.ended(job) for job in jobs]

    assert {(job.status, job.attempt) for job in ended} == {(JobStatus.SUCCEEDED, 1)}
    assert device.packs == [20, 10, 5, 5, 5, 5]
    [why] = {event.why for event in crew.store.events(jobs[0].id) if "memory" in event.why and "20" in event.why}
    assert why == "requeued, as 20 jobs at once needed more memory than cpu has; the next try is 10 at once"
    assert curve(crew.store, jobs[-1]) == expected(jobs[-1].spec)


def test_only_a_job_that_is_alone_fails_of_too_little_memory(crew, submit, monkeypatch):
    device = Device(room=0)
    monkeypatch.setattr(neuron_pack, "train_pack", device.train_pack)
    jobs = [submit({**SHORT, "seed": seed}) for seed in range(3)]
    crew.start()

    assert {crew.ended(job).error.code for job in jobs} == {"out_of_memory"}
    assert device.packs == [3, 1, 1, 1]


def test_a_lane_whose_checkpoint_has_other_tensors_begins_anew_and_its_neighbours_go_on(crew, submit, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_INTERVAL", 0.01)
    monkeypatch.setattr(job_run, "CHECKPOINT_INTERVAL", 0.0)
    jobs = [submit({**SHORT, "epochs": 6_000, "seed": seed}) for seed in range(3)]
    crew.start()
    until(lambda: crew.is_training(jobs[0]), bool)
    crew.stop()
    load, spoilt = crew.checkpoints.load, jobs[1].id

    def without_weight(claim):
        snapshot = load(claim)
        if claim.job_id != spoilt:
            return snapshot
        return replace(snapshot, tensors={"bias": snapshot.tensors["bias"]})

    monkeypatch.setattr(crew.checkpoints, "load", without_weight)
    crew.start()

    for job in jobs:
        assert crew.ended(job).status is JobStatus.SUCCEEDED
        assert curve(crew.store, job) == expected(job.spec)
        restarts = [event.why for event in crew.store.events(job.id) if "restarted" in event.why]
        assert restarts == (
            ["restarted from step 0: training cannot resume from its checkpoint: it has no tensor weight"]
            if job.id == spoilt
            else []
        )


def test_checkpoints_of_many_lanes_take_a_small_share_of_the_time(monkeypatch):
    now = 100.0
    monkeypatch.setattr(job_run, "monotonic", lambda: now)
    thrift = job_run.WriteBudget()
    written = 0
    while now < 200.0:
        if thrift.allows():
            written += 1
            now += 0.01
            thrift.spent(0.01)
        else:
            now += 0.05

    assert 0.02 < 0.01 * written / 100 < 0.05


@pytest.mark.parametrize(("took", "interval"), [(0.001, 0.1), (0.01, 0.2), (30.0, 0.3)])
def test_where_the_store_is_slow_progress_is_written_more_seldom_but_often_enough(took, interval):
    thrift = job_run.WriteBudget()
    thrift.recorded(took)

    assert thrift.record_interval == pytest.approx(interval)
