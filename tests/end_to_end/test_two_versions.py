"""Two versions at once, as while one replaces the other: an older one, from the history, beside this one."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers import plain_http, reaper
from tests.helpers.processes import Deployment

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.empty_database]

NEURON = {"experiment": "neuron", "loss": "quadratic"}
NETWORK = {"experiment": "mnist", "loss": "cross_entropy", "epochs": 2, "steps_per_epoch": 200}

# An editable install puts a finder in front of all paths, in every process that starts. Without it the paths count.
_SITE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
"""
# What a worker process, which the supervisor spawns, takes for the project.
_PROBE = """
import multiprocessing, sys
from importlib import import_module
def modules(answers, names):
    answers.put([import_module(name).__path__[0] for name in names])
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    child = spawn.Process(target=modules, args=(answers, sys.argv[1:]))
    child.start()
    print(*answers.get(timeout=100), sep="\\n")
    child.join()
"""


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=True).stdout


def before_the_newest_migration() -> str:
    """The last commit whose program does not know the newest migration."""
    newest = max((ROOT / "costcurve" / "store" / "migrations" / "versions").glob("[0-9]*.py"))
    added = git("log", "--follow", "--diff-filter=A", "--format=%H", "--", str(newest)).decode().split()
    return f"{added[-1]}~1" if added else "HEAD"


@pytest.fixture(params=["the previous commit", "before the newest migration"])
def older(request, tmp_path) -> dict[str, str]:
    """The environment in which the programs are those of an older version. It trains with its reference engine."""
    try:
        commit = "HEAD~1" if request.param == "the previous commit" else before_the_newest_migration()
        archive = git("archive", "--format=tar", commit)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"needs the repository with its history: {error}")
    tree, site = tmp_path / "older", tmp_path / "site"
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(tree, filter="data")
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE)
    (site / "probe.py").write_text(_PROBE)
    environment = {"PYTHONPATH": f"{site}:{tree}", "PYTHONSAFEPATH": "1"}
    # The check that what is tested really is the older version.
    marked = environment | {reaper.MARK: os.environ[reaper.MARK]}
    packages = [package for package in ("costcurve", "jobs", "service", "workers") if (tree / package).is_dir()]
    probe = [sys.executable, site / "probe.py", *packages]
    found = subprocess.check_output(probe, env=marked, text=True, timeout=200)
    assert found.split() == [str(tree / package) for package in packages]
    return environment


def a_deployment(home: Path, mnist_dir: Path | None, url: str, environment: dict[str, str]) -> Deployment:
    home.mkdir()
    return Deployment(home, mnist_dir, {"COSTCURVE_DATABASE_URL": url, **environment})


def test_an_older_worker_finishes_jobs_while_the_new_service_runs_on_a_migrated_database(
    older, tmp_path, mnist_dir, postgresql_url
):
    with (
        a_deployment(tmp_path / "new", mnist_dir, postgresql_url, {}) as new,
        a_deployment(tmp_path / "old", mnist_dir, postgresql_url, older) as old,
    ):
        new.start_service()
        worker = old.start_workers()
        neuron, network = new.submit(NEURON), new.submit(NETWORK)

        for job_id, points in ((neuron, 301), (network, 2)):
            job = new.ended(job_id)
            assert (job["status"], job["attempt"]) == ("succeeded", 1), job
            assert len(new.curve(job_id)["x"]) == points
        old.stop(worker)
        assert worker.returncode == 0


def test_an_older_service_goes_on_while_the_database_is_migrated_and_the_new_worker_trains(
    older, tmp_path, mnist_dir, postgresql_url
):
    with (
        a_deployment(tmp_path / "new", mnist_dir, postgresql_url, {}) as new,
        a_deployment(tmp_path / "old", mnist_dir, postgresql_url, older) as old,
    ):
        old.start_service()
        before = old.submit(NEURON)
        new.start_workers()  # migrates, if there is something to migrate
        old.ended(before)
        network = old.submit(NETWORK)

        assert plain_http.get(f"{old.url}/readyz").status_code == 200
        for job_id, points in ((before, 301), (network, 2)):
            job = old.ended(job_id)
            assert (job["status"], job["attempt"]) == ("succeeded", 1), job
            assert len(old.curve(job_id)["x"]) == points
        assert "Epoch 1: " in plain_http.get(f"{old.url}/v1/jobs/{network}/transcript").raise_for_status().text
