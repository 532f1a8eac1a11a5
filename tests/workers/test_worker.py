"""A worker on a real store, with what it may meet: a slow data set, too little memory, an engine's defect."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load

from costcurve.core.errors import DatasetUnavailable, InvalidTransition
from costcurve.core.model_file import TrainedModel
from costcurve.core.status import JobStatus
from costcurve.store.job_update import JobUpdate
from tests.helpers.processes import until
from workers import loop
from workers.checkpoints import Checkpoints
from workers.engines import autograd
from workers.lease import Lease
from workers.loop import WRITES_AT_ONCE, Worker
from workers.training.network import weights_sha256

NETWORK = {"experiment": "mnist", "epochs": 1, "steps_per_epoch": 20}


class Bench:
    """A worker in a thread of its own, whose data set is loaded when the test says so."""

    def __init__(self, store, images, folder) -> None:
        self.store = store
        self.stop = threading.Event()
        self.may_load = threading.Event()
        self.loads = 0
        self.problem: Exception | None = None
        self._loaded = images
        store.register_worker("wrk_1", host="here", pid=1, device="cpu")
        self.lease = Lease(store, "wrk_1", seconds=10)
        self.lease.start()
        self.worker = Worker(
            store,
            worker_id="wrk_1",
            device="cpu",
            images=self._images,
            checkpoints=Checkpoints(folder),
            lease=self.lease,
            stop=self.stop,
        )
        self.thread = threading.Thread(target=self.worker.run)

    def _images(self, _device: torch.device):
        self.loads += 1
        assert self.may_load.wait(60)
        if self.problem is not None:
            raise self.problem
        return self._loaded

    def ended(self, job):
        return until(lambda: self.store.get(job.id), lambda seen: seen.is_terminal)


@pytest.fixture
def bench(store, images, tmp_path) -> Iterator[Bench]:
    bench = Bench(store, images, tmp_path / "checkpoints")
    bench.thread.start()
    yield bench
    bench.stop.set()
    bench.may_load.set()
    bench.thread.join()
    bench.lease.stop()


def test_a_job_is_cancelled_while_its_data_set_is_still_loading(bench, submit):
    job = submit(NETWORK)
    until(lambda: bench.loads, lambda loads: loads == 1)
    bench.store.cancel(job.id)

    assert bench.ended(job).status is JobStatus.CANCELLED
    # The load goes on and serves the next job: the data set is not asked for twice.
    bench.may_load.set()
    assert bench.ended(submit(NETWORK)).status is JobStatus.SUCCEEDED
    assert bench.loads == 1


def test_a_worker_told_to_stop_while_a_data_set_is_loading_hands_the_job_back_at_once(bench, submit):
    job = submit(NETWORK)
    until(lambda: bench.loads, lambda loads: loads == 1)
    bench.stop.set()
    bench.thread.join(30)  # less than the data set takes to load

    assert not bench.thread.is_alive()
    assert bench.store.get(job.id).status is JobStatus.QUEUED


def test_the_time_that_a_data_set_takes_is_no_training_time(bench, submit):
    job = submit(NETWORK, max_runtime_seconds=3)
    until(lambda: bench.loads, lambda loads: loads == 1)
    assert not bench.stop.wait(3.1)  # longer than the job may train
    bench.may_load.set()

    assert bench.ended(job).status is JobStatus.SUCCEEDED


def test_a_data_set_that_could_not_be_loaded_is_asked_for_again_by_the_next_job(bench, submit):
    bench.problem = DatasetUnavailable("MNIST could not be loaded. Tried: nothing")
    bench.may_load.set()
    failed = bench.ended(submit(NETWORK))
    bench.problem = None

    assert failed.error.code == "dataset_unavailable"
    assert bench.ended(submit(NETWORK)).status is JobStatus.SUCCEEDED


def test_a_load_that_hangs_fails_its_job_and_holds_up_no_other(bench, submit, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(loop, "LOAD_LIMIT", 0.5)
        failed = bench.ended(submit(NETWORK))
    assert (failed.error.code, bench.loads) == ("dataset_unavailable", 1)
    assert bench.ended(submit()).status is JobStatus.SUCCEEDED

    job = submit(NETWORK)
    until(lambda: bench.loads, lambda loads: loads == 2)
    bench.may_load.set()
    assert bench.ended(job).status is JobStatus.SUCCEEDED


def _too_much(*_: object, **__: object) -> Iterator[object]:
    yield torch.empty(10**15)


def _defect(*_: object, **__: object) -> Iterator[object]:
    raise ZeroDivisionError("a defect")
    yield


@pytest.mark.parametrize(("engine", "code"), [(_too_much, "out_of_memory"), (_defect, "worker_error")])
def test_what_goes_wrong_in_an_engine_fails_the_job_and_not_the_worker(bench, submit, monkeypatch, engine, code):
    with monkeypatch.context() as patched:
        patched.setattr(autograd, "train_neuron", engine)
        assert bench.ended(submit(engine="autograd")).error.code == code

    assert bench.ended(submit()).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(("engine", "steps"), [("autograd", 2_000), ("auto", 50_000)])
def test_a_network_is_kept_with_its_result_and_is_the_same_after_a_pause(bench, submit, engine, steps):
    bench.may_load.set()
    given = {**NETWORK, "epochs": 3, "steps_per_epoch": steps}
    undisturbed = bench.ended(submit(given, engine=engine))
    job = submit(given, engine=engine)
    until(lambda: bench.store.get(job.id), lambda seen: seen.progress.step > 0)
    bench.store.pause(job.id)
    until(lambda: bench.store.get(job.id), lambda seen: seen.status in (JobStatus.PAUSED, JobStatus.SUCCEEDED))
    with suppress(InvalidTransition):  # a fast machine may have ended it
        bench.store.resume(job.id)
    ended = bench.ended(job)

    tensors = load(bench.store.model(job.id))
    assert weights_sha256([(tensors[f"weights.{n}"], tensors[f"biases.{n}"]) for n in (1, 2)]) == (
        ended.result.weights_sha256
    )
    confusion = bench.store.confusion(job.id)
    assert sum(confusion[digit][digit] for digit in range(10)) == ended.result.final_correct
    assert ended.result.weights_sha256 == undisturbed.result.weights_sha256
    assert confusion == bench.store.confusion(undisturbed.id)
    assert bench.store.mistakes(job.id) == bench.store.mistakes(undisturbed.id)


def model_of_bytes(count: int) -> JobUpdate:
    return JobUpdate(SimpleNamespace(), model=TrainedModel(b"0" * count, (), ()))


@pytest.mark.parametrize(
    ("sizes", "together"),
    [([0] * 10, 10), ([0] * 1000, WRITES_AT_ONCE), ([100_000] * 256, 42), ([20_000_000] * 2, 1), ([1, 20_000_000], 2)],
)
def test_models_are_written_so_many_at_a_time_that_others_can_write_too(sizes, together):
    assert loop._together([model_of_bytes(size) for size in sizes]) == together
