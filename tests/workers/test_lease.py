"""A worker's lease on a real store: what happens when training hangs, and when nobody hears of the worker."""

import threading
from datetime import datetime

import pytest

from costcurve.core.errors import StoreUnavailable, WorkerRetired
from costcurve.core.status import JobStatus
from tests.helpers.processes import until
from workers.checkpoints import Checkpoints
from workers.engines import autograd
from workers.lease import Lease
from workers.loop import Worker

# Long enough for the lease's thread to be kept waiting by others.
SECONDS = 3.0


@pytest.fixture
def lease(store):
    store.register_worker("wrk_1", host="here", pid=1, device="cpu", lease_seconds=SECONDS)
    lease = Lease(store, "wrk_1", seconds=SECONDS)
    lease.start()
    yield lease
    lease.stop()


def test_a_worker_whose_training_hangs_loses_its_job_and_its_late_report_counts_for_nothing(
    store, submit, clock, lease, tmp_path, monkeypatch
):
    hangs, goes_on = threading.Event(), threading.Event()
    train = autograd.train_neuron

    def hanging(*given, **named):
        hangs.set()
        assert goes_on.wait(60)
        yield from train(*given, **named)

    monkeypatch.setattr(autograd, "train_neuron", hanging)
    stop, ended = threading.Event(), []
    worker = Worker(
        store,
        worker_id="wrk_1",
        device="cpu",
        images=lambda _: pytest.fail("a neuron needs no images"),
        checkpoints=Checkpoints(tmp_path),
        lease=lease,
        stop=stop,
    )

    def work() -> None:
        try:
            worker.run()
        except WorkerRetired as retired:
            ended.append(retired)

    job = submit(engine="autograd")
    thread = threading.Thread(target=work)
    thread.start()
    assert hangs.wait(60)

    def reaped() -> bool:
        clock.advance(0.1)
        return bool(store.reap(by="somebody"))

    until(reaped, bool)
    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.QUEUED, 2)
    goes_on.set()
    thread.join(60)
    stop.set()

    assert not thread.is_alive()
    assert "given up" in str(ended[0])
    assert store.get(job.id).status is JobStatus.QUEUED
    assert store.curve(job.id, limit=10).total_points == 0


def test_a_worker_that_gets_on_keeps_its_lease(store, clock, lease):
    def heartbeats() -> list[datetime]:
        lease.mark_progress()
        return [worker.heartbeat_at for worker in store.workers()]

    for _ in range(5):
        clock.advance(0.4 * SECONDS)
        until(heartbeats, lambda seen: seen == [clock.now])
        lease.ensure(threading.Event())
        assert store.reap(by="somebody") == []


def test_a_worker_that_cannot_renew_its_lease_stops_by_itself_and_goes_on_when_it_can(store, lease, monkeypatch):
    def gone(*_: object, **__: object) -> bool:
        raise StoreUnavailable("gone")

    returned = threading.Event()
    with monkeypatch.context() as outage:
        outage.setattr(store, "renew_lease", gone)
        threading.Event().wait(SECONDS)
        waiting = threading.Thread(target=lambda: (lease.ensure(threading.Event()), returned.set()))
        waiting.start()
        assert not returned.wait(SECONDS / 2)
    assert returned.wait(60)
    waiting.join()


def test_a_worker_that_was_given_up_is_told_so(store, lease):
    store.retire_worker("wrk_1", reason="not heard from", crashed=True)

    with pytest.raises(WorkerRetired):
        until(lambda: lease.ensure(threading.Event()), lambda _: False)


def test_a_worker_that_waits_for_its_lease_can_be_told_to_stop(store, lease, monkeypatch):
    monkeypatch.setattr(store, "renew_lease", lambda *_, **__: (_ for _ in ()).throw(StoreUnavailable("gone")))
    stop = threading.Event()
    threading.Event().wait(SECONDS)
    waiting = threading.Thread(target=lease.ensure, args=(stop,))
    waiting.start()
    stop.set()
    waiting.join(60)

    assert not waiting.is_alive()
