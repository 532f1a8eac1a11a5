"""What is kept of a network that was trained: written with the result, or not at all, and gone with its job."""

import pytest
from sqlalchemy import func, select

from costcurve.core.errors import ClaimLost, JobNotFound, ModelNotFound, ModelNotReady, NoTestImages
from costcurve.core.job import Failure
from costcurve.core.model_file import in_order
from costcurve.store.job_update import JobUpdate
from costcurve.store.schema import models
from tests.helpers.reports import RESULT, mnist_result, model
from tests.helpers.writing import confirm_cancel, confirm_pause, fail, finish, hand_back, written

NETWORK = {"experiment": "mnist"}
ASKED = ("model", "confusion", "mistakes")


def end(store, held, kept=None) -> None:
    written(store, JobUpdate(held, outcome=mnist_result(9000), model=kept or model()))


def kept_rows(store) -> int:
    with store._database.read() as tx:
        return tx.scalar(select(func.count()).select_from(models))


def refuses(store, job_id: str, error: type[Exception], why: str) -> bool:
    for asked in ASKED:
        with pytest.raises(error, match=why):
            getattr(store, asked)(job_id)
    return True


def test_what_is_kept_is_read_as_it_was_written(store, submit, claim):
    job = submit(NETWORK)
    every_byte = bytes(range(256))
    end(store, claim(), model(every_byte))

    assert store.model(job.id) == every_byte
    assert store.confusion(job.id) == model().confusion
    assert store.mistakes(job.id) == model().mistakes


def test_the_largest_network_can_be_kept(store, submit, claim):
    job, large = submit(NETWORK), b"\x00\xff" * (10 << 20)
    end(store, claim(), model(large))

    assert store.model(job.id) == large


def test_a_model_goes_with_its_job(store, submit, claim, clock):
    jobs = [submit(NETWORK) for _ in range(3)]
    for _ in jobs:
        end(store, claim())
    store.delete(jobs[0].id)
    assert kept_rows(store) == 2
    assert refuses(store, jobs[0].id, JobNotFound, jobs[0].id)

    clock.advance(2 * 86_400)
    store.purge(days=1)
    assert kept_rows(store) == 0


def test_the_model_of_a_lane_that_was_lost_is_dropped(store, submit, claim, claim_as, hire, clock):
    job = submit(NETWORK)
    stale = claim()
    clock.advance(11)
    store.reap(by="test")
    fresh, *_ = claim_as(hire())
    with pytest.raises(ClaimLost):
        end(store, stale, model(b"stale"))
    assert kept_rows(store) == 0

    end(store, fresh, model(b"fresh"))
    end(store, fresh, model(b"again"))  # written once more, as by a worker that never heard that it was written
    assert store.model(job.id) == b"fresh"


def test_only_a_job_that_has_succeeded_has_a_model(store, submit, claim):
    job = submit(NETWORK)
    assert refuses(store, job.id, ModelNotReady, "is queued")
    held = claim()
    assert refuses(store, job.id, ModelNotReady, "is running")
    hand_back(store, held, reason="told to stop")
    assert refuses(store, job.id, ModelNotReady, "is queued")
    held = claim()
    store.pause(job.id)
    confirm_pause(store, held)
    assert refuses(store, job.id, ModelNotReady, "is paused")
    store.resume(job.id)
    held = claim()
    store.cancel(job.id)
    confirm_cancel(store, held)
    assert refuses(store, job.id, ModelNotFound, "is cancelled")

    failed = submit(NETWORK)
    fail(store, claim(), Failure("diverged", "no longer finite"))
    assert refuses(store, failed.id, ModelNotFound, "is failed")


def test_a_job_that_was_trained_before_models_were_kept_says_so(store, submit, claim):
    job = submit(NETWORK)
    finish(store, claim(), mnist_result(9000))

    assert refuses(store, job.id, ModelNotFound, "stored no models")


def test_a_neuron_reads_no_images(store, submit, claim):
    job = submit()
    assert refuses(store, job.id, NoTestImages, "does not classify images")
    finish(store, claim(), RESULT)

    assert refuses(store, job.id, NoTestImages, "does not classify images")


@pytest.mark.parametrize("job_id", ["job_0", "", "\0", "😀"])
def test_a_job_that_does_not_exist_has_no_model(store, job_id):
    assert refuses(store, job_id, JobNotFound, "there is no job")


def test_a_file_in_order_is_the_same_file():
    header = b'{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"z":"\\u00e9","a":"1"}}  '
    ordered = b'{"__metadata__":{"a":"1","z":"\\u00e9"},"b":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}'

    file = in_order(len(header).to_bytes(8, "little") + header + b"\1\2\3\4")
    size = int.from_bytes(file[:8], "little")
    assert size % 8 == 0
    assert file[8 : 8 + size].rstrip(b" ") == ordered
    assert file[8 + size :] == b"\1\2\3\4"
    assert in_order(file) == file
