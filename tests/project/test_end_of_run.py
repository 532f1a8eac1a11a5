"""A test run that is ended from outside, for real: nothing that it started is left."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers import reaper
from tests.helpers.processes import is_running, until

pytestmark = [pytest.mark.slow, pytest.mark.long]

# A test of its own, in a run of its own.
NEVER_ENDS = ROOT / "tests" / "helpers" / "programs_of_a_run.py"


@pytest.mark.parametrize(
    ("victim", "number", "processes"),
    [
        ("pytest", signal.SIGTERM, 0),
        ("pytest", signal.SIGINT, 1),
        ("worker of xdist", signal.SIGKILL, 1),
    ],
)
def test_whatever_a_run_started_ends_when_it_is_ended(run_folder, tmp_path, victim, number, processes):
    told, outer = tmp_path / "pids", Path(tempfile.mkdtemp(dir=run_folder))
    environment = {**os.environ, reaper.MARK: str(outer), "PIDS_OF_A_RUN": str(told)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", str(processes), str(NEVER_ENDS)]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    until(told.exists, bool, timeout=250)
    folder, pids = told.read_text().splitlines()
    first, *programs = [int(pid) for pid in pids.split()]
    assert outer in Path(folder).parents
    assert all(is_running(pid) for pid in programs)
    assert len(programs) >= 4

    # What ends is the run, or the process that runs the test; a run goes on after the death of one of its workers.
    os.kill(run.pid if victim == "pytest" else first, number)

    until(lambda: [pid for pid in programs if is_running(pid)], lambda left: not left, timeout=120)
    until(Path(folder).exists, lambda is_there: not is_there, timeout=120)
    run.kill()
    run.wait()
    until(lambda: reaper.started(outer), lambda left: not left, timeout=120)
