"""What the log says of an outage, however often it is met."""

import logging

import pytest

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime import outages
from costcurve.runtime.outages import Outage
from tests.helpers.processes import until
from workers.lease import Lease

REFUSED = StoreUnavailable("connection refused")


class Time:
    now = 1000.0


@pytest.fixture
def time(monkeypatch):
    time = Time()
    monkeypatch.setattr(outages, "monotonic", lambda: time.now)
    return time


@pytest.fixture
def outage(caplog):
    caplog.set_level(logging.INFO)
    return Outage(logging.getLogger("test"))


def test_an_outage_of_an_hour_is_told_once_a_minute_and_when_it_is_over(time, outage, caplog):
    for _ in range(3600 * 4):
        outage.failed("waiting for the store", REFUSED)
        time.now += 0.25
    outage.worked("waiting for the store")
    outage.worked("waiting for the store")

    assert caplog.messages[:-1] == ["waiting for the store: connection refused"] * 60
    assert caplog.messages[-1] == "the outage is over, after 3600.0 s"


def test_each_reason_is_told_and_threads_that_share_an_outage_tell_it_once(time, outage, caplog):
    outage.failed("waiting for the store", REFUSED)
    outage.failed("the janitor failed", REFUSED)
    outage.failed("the janitor failed", StoreUnavailable("the server starts up"))
    outage.worked("waiting for the store")
    assert "over" not in caplog.text
    outage.worked("the janitor failed")

    assert caplog.messages == [
        "waiting for the store: connection refused",
        "the janitor failed: the server starts up",
        "the outage is over, after 0.0 s",
    ]


def test_an_outage_that_comes_and_goes_is_no_flood_either(time, outage, caplog):
    for _ in range(400):
        outage.failed("waiting for the store", REFUSED)
        outage.worked("waiting for the store")
        time.now += 0.1

    assert len(caplog.messages) == 2


def test_reasons_that_differ_each_time_are_no_flood_either(time, outage, caplog):
    for number in range(500):
        outage.failed("no checkpoint could be written", StoreUnavailable(f"at port {number}"))
        time.now += 0.1

    assert len(caplog.messages) < 15


def test_the_name_of_a_file_is_no_part_of_the_reason_and_a_defect_has_its_traceback(time, outage, caplog):
    for number in range(3):
        outage.failed("no checkpoint could be written", OSError(28, "No space left on device", f"file-{number}"))
    outage.failed("no checkpoint could be written", ZeroDivisionError("a defect"))

    assert caplog.messages == [
        "no checkpoint could be written: No space left on device",
        "no checkpoint could be written: ZeroDivisionError: a defect",
    ]
    assert [record.exc_info is not None for record in caplog.records] == [False, True]


def test_a_lease_that_cannot_be_renewed_is_told_once_however_often_it_is_tried(store, monkeypatch, caplog):
    tried = 0

    def unavailable(*_: object, **__: object) -> bool:
        nonlocal tried
        tried += 1
        raise REFUSED

    store.register_worker("wrk_1", host="here", pid=1, device="cpu", lease_seconds=1)
    caplog.set_level(logging.INFO)
    lease = Lease(store, "wrk_1", seconds=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(store, "renew_lease", unavailable)
        lease.start()
        until(lambda: tried, lambda times: times > 10)
    until(lambda: caplog.messages, lambda messages: "over" in messages[-1])
    lease.stop()

    assert caplog.messages[:-1] == ["the lease of worker wrk_1 is not renewed: connection refused"]
