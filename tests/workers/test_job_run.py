"""What a lane makes of the reports of its engine."""

import threading

from costcurve.core.curve import Curve
from tests.helpers.reports import mnist_result, points, steps
from workers.checkpoints import Checkpoints
from workers.engines import registry
from workers.engines.base import Report
from workers.job_run import JobRun, WriteBudget
from workers.memory_room import MemoryRoom


def test_whatever_an_engine_has_reported_is_written_epochs_and_steps_and_once(store, submit, claim, tmp_path):
    job = submit({"experiment": "mnist", "epochs": 3, "steps_per_epoch": 250})
    reports = [
        Report(step=150, epoch=0, curve=Curve(), steps=steps(0, 9.0)),
        Report(step=500, epoch=2, curve=points(0, 1.0, 0.5), steps=steps(1, 8.0, 7.0, 6.0, 5.0)),
        Report(step=520, epoch=2, curve=Curve()),
        Report(step=750, epoch=3, curve=points(2, 0.25), steps=steps(5, 4.0, 3.0, 2.0), result=mnist_result(9000)),
    ]
    write_budget = WriteBudget()
    job_run = JobRun(
        claim(),
        checkpoints=Checkpoints(tmp_path),
        write_budget=write_budget,
        room=MemoryRoom(registry.select_engine),
        stop=threading.Event(),
    )
    job_run.begin()
    job_run.start(iter(reports))
    for interval in (60.0, 0.0, 60.0, 60.0):  # the second report is written at once, with what came before
        write_budget.record_interval = interval
        write = job_run.advance()
        if write is not None:
            [answer] = store.write([write])
            job_run.written(write, answer)

    assert job_run.is_over
    assert store.curve(job.id, metrics=("cost",), limit=10).curve.series["cost"] == [1.0, 0.5, 0.25]
    page = store.curve(job.id, granularity="step", metrics=("cost",), limit=10)
    assert page.curve.series["cost"] == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]
    assert list(page.x) == list(range(0, 800, 100))
