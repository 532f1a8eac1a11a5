"""A supervisor with a real worker process, looked at one step at a time."""

import os
import signal

import pytest

from costcurve.runtime.settings import Settings
from tests.helpers.processes import until
from workers import supervisor
from workers.supervisor import BACKOFF, BACKOFF_UNREADY, Supervisor


@pytest.fixture
def watch(store, database_url, tmp_path):
    watch = Supervisor(store, Settings(home=tmp_path, database_url=database_url), ["cpu"])
    yield watch
    watch._stop()
    watch._fork_server.kill()


def test_a_worker_that_does_not_get_ready_in_time_is_killed_and_counts_as_one_that_died_young(watch, monkeypatch):
    monkeypatch.setattr(supervisor, "START", 0.0)
    [slot] = watch._slots
    watch._attend(slot)
    worker = slot.process
    until(lambda: worker.is_alive() and worker.pid, bool)
    watch._attend(slot)
    worker.join(20)
    watch._attend(slot)

    assert worker.exitcode == -9
    assert slot.process is None
    assert [ended.reason for ended in watch._unretired] == ["its worker died (it was not ready within 0 s)"]
    assert (slot.backoff, watch._stop()) == (2 * BACKOFF, True)


def test_a_fork_server_that_does_not_fork_in_time_is_killed_and_the_next_one_forks(watch, monkeypatch):
    [slot] = watch._slots
    hung = watch._fork_server.start(until, None, None)
    os.kill(watch._fork_server._process.pid, signal.SIGSTOP)
    watch._attend(slot)
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "START", 0.0)
        watch._attend(slot)
        hung.join(20)
        slot.process.join(20)
        watch._attend(slot)
    assert (slot.process, slot.backoff, watch._unretired) == (None, 2 * BACKOFF, [])

    slot.not_before = 0.0
    watch._attend(slot)
    until(lambda: slot.state.is_ready, bool)
    assert slot.process.is_alive()


def test_whatever_goes_wrong_at_a_start_is_waited_out_later_and_later(watch, monkeypatch, caplog):
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(watch._fork_server, "start", refuse)
    [slot] = watch._slots
    waited = []
    for _ in range(9):
        slot.not_before = 0.0
        waited.append(slot.backoff)
        watch._attend(slot)
        assert slot.not_before > 0

    assert slot.process is None
    assert waited == [*(BACKOFF * 2**n for n in range(6)), *3 * [BACKOFF_UNREADY]]
    assert "no worker can be started on cpu (BlockingIOError: [Errno 11]" in caplog.messages[0]


def test_a_defect_in_its_own_look_ends_no_supervisor_and_it_still_stops(watch, store, monkeypatch, caplog):
    looks = 0

    def defect() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            watch._stop_request._make()
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(supervisor, "LOOK", 0.01)
    monkeypatch.setattr(watch, "_look", defect)
    monkeypatch.setattr(watch._stop_request, "listen", lambda: None)

    assert watch.run()
    assert looks == 3
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_does_not_take_back_a_dead_workers_jobs_is_asked_again(watch, store, monkeypatch, caplog):
    asked = []

    def defect(worker_id: str, **_: object) -> None:
        asked.append(worker_id)
        if len(asked) < 5:
            raise ZeroDivisionError("a defect")

    monkeypatch.setattr(store, "retire_worker", defect)
    watch._unretired.append(supervisor._Ended("wrk_1", "its worker died", crashed=True))
    until(lambda: watch._retire_ended() or watch._unretired, lambda left: not left, timeout=10)

    assert len(asked) == 5
    assert caplog.text.count("are not requeued yet") == 1
