"""The sweep of the folder of checkpoints, on a real store and a real file system."""

import logging
import os
from time import time

import pytest

from tests.helpers.processes import until
from workers import checkpoint_sweep
from workers.checkpoint_sweep import INTERVAL, UNKNOWN_DAYS, CheckpointSweep

DAY = 86_400.0
UNKNOWN = "job_00000000000000000000"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def left(folder):
    """Leave a file in a job's folder, both of this age in seconds."""

    def left(job_id: str, name: str = "1-0-1.safetensors", *, age: float = 0.0) -> None:
        (folder / job_id).mkdir(parents=True, exist_ok=True)
        (folder / job_id / name).write_bytes(b"0" * 100)
        for path in (folder / job_id / name, folder / job_id):
            os.utime(path, (time() - age, time() - age))

    return left


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_left_of_jobs_that_have_ended_is_removed_at_once_and_of_others_is_kept(store, submit, folder, left):
    waiting, ended = submit(), submit()
    store.cancel(ended.id)
    for job_id in (waiting.id, ended.id):
        left(job_id, age=100 * DAY)
    CheckpointSweep(folder, store).sweep()

    assert names(folder) == [waiting.id]


def test_what_is_left_of_a_job_that_was_paused_cancelled_and_deleted_is_removed_once_it_is_old(
    store, submit, folder, left
):
    job = submit()
    store.pause(job.id)
    store.cancel(job.id)
    store.delete(job.id)
    left(job.id, age=(UNKNOWN_DAYS - 0.1) * DAY)
    left(UNKNOWN, age=(UNKNOWN_DAYS + 0.1) * DAY)
    left(UNKNOWN, "2-0-1.safetensors")  # another database's job, which has just got on
    CheckpointSweep(folder, store).sweep()
    assert names(folder) == sorted([job.id, UNKNOWN])

    left(job.id, age=(UNKNOWN_DAYS + 0.1) * DAY)
    CheckpointSweep(folder, store).sweep()
    assert names(folder) == [UNKNOWN]


def test_files_that_were_never_finished_are_removed_after_an_hour(store, submit, folder, left):
    job = submit()
    left(job.id, "1-0-1.safetensors", age=DAY)
    left(job.id, "1-0-2.part", age=3700)
    left(job.id, "1-0-3.part", age=3500)
    CheckpointSweep(folder, store).sweep()

    assert names(folder / job.id) == ["1-0-1.safetensors", "1-0-3.part"]


def test_names_that_are_no_jobs_are_left_alone_also_those_that_are_no_text(store, submit, folder, left):
    ended = submit()
    store.cancel(ended.id)
    left(ended.id)
    for name in (b"job_\xff", b"\xff", b"lost+found", b"job_\n"):
        (folder / os.fsdecode(name)).mkdir()
    CheckpointSweep(folder, store).sweep()

    assert len(names(folder)) == 4
    assert not (folder / ended.id).exists()


def test_a_folder_that_cannot_be_removed_keeps_no_other_from_being_swept(store, submit, folder, left):
    jobs = [submit() for _ in range(3)]
    for job in jobs:
        store.cancel(job.id)
        left(job.id)
    # Not a folder: rmtree raises NotADirectoryError, whoever runs the test.
    (folder / jobs[1].id / "1-0-1.safetensors").unlink()
    (folder / jobs[1].id).rmdir()
    (folder / jobs[1].id).write_text("")
    with pytest.raises(NotADirectoryError):
        CheckpointSweep(folder, store).sweep()

    assert names(folder) == [jobs[1].id]


def test_a_sweep_that_fails_is_told_once_and_tried_again(store, folder, caplog, monkeypatch):
    monkeypatch.setattr(checkpoint_sweep, "RETRY", 0.01)
    caplog.set_level(logging.INFO)
    folder.mkdir()
    listdir, tried = os.listdir, 0

    def stale(path):
        nonlocal tried
        if path == folder:
            tried += 1
            raise OSError(116, "Stale file handle", str(path))
        return listdir(path)

    sweep = CheckpointSweep(folder, store)
    with monkeypatch.context() as patched:
        patched.setattr("workers.checkpoint_sweep.os.listdir", stale)
        sweep.start()
        until(lambda: tried, lambda times: times > 5)
    until(lambda: caplog.messages, lambda messages: "over" in messages[-1])
    sweep.stop()

    assert caplog.messages[:-1] == ["the folder of checkpoints cannot be swept: Stale file handle"]
    assert INTERVAL == 600
