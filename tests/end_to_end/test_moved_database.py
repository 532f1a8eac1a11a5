"""A database that is backed up while its jobs are trained, and moved to the other kind, where they end."""

from contextlib import closing

import pytest

from costcurve.store.backup import back_up, restore
from costcurve.store.database import Database
from tests.helpers.processes import Deployment

pytestmark = pytest.mark.slow

# With the reference engine, by name: it must be in hand while the backup is made.
NETWORK = {"experiment": "mnist", "loss": "cross_entropy", "epochs": 6, "steps_per_epoch": 1000}
SMALL = {**NETWORK, "epochs": 1, "steps_per_epoch": 200}


@pytest.mark.empty_database
def test_jobs_that_were_trained_during_a_backup_end_where_it_is_restored(
    database_url, tmp_path, mnist_dir, postgresql_url
):
    other_url = f"sqlite:///{tmp_path / 'other.db'}" if database_url.startswith("postgresql") else postgresql_url
    file = tmp_path / "backup.db"
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    shared = {"COSTCURVE_CHECKPOINT_DIR": str(tmp_path / "checkpoints")}

    with Deployment(tmp_path / "here", mnist_dir, {**shared, "COSTCURVE_DATABASE_URL": database_url}) as here:
        here.start_service()
        workers = here.start_workers()
        ended = here.submit({"experiment": "neuron"})
        here.ended(ended)
        network, waiting = here.submit(NETWORK, engine="autograd"), here.submit(SMALL, engine="autograd")
        here.running(network)
        with closing(Database(database_url)) as database:
            back_up(database, file)
        before = here.curve(ended)
        here.stop(workers)

    with closing(Database(other_url)) as database:
        restore(file, database)
    with Deployment(tmp_path / "there", mnist_dir, {**shared, "COSTCURVE_DATABASE_URL": other_url}) as there:
        there.start_service()
        # Its worker is not here, so it was given back.
        assert there.job(network)["status"] == "queued"
        assert there.job(network)["progress"]["step"] > 0
        assert there.curve(ended) == before
        there.start_workers()
        for job_id, epochs in ((network, 6), (waiting, 1)):
            job = there.ended(job_id)
            assert job["status"] == "succeeded", job
            assert there.curve(job_id)["x"] == list(range(epochs))
