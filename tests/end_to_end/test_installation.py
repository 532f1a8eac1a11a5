"""Installing, where something is missing."""

import os
import subprocess
import sys
from zipfile import ZipFile

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_without_a_compiler_everything_is_installed_but_the_compiled_engine(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path / "wheels")]
    built = subprocess.run(
        [*pip, f"--config-settings=build-dir={tmp_path / 'build'}", str(ROOT)],
        env=os.environ | {"CXX": "/nowhere/c++"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr

    [wheel] = (tmp_path / "wheels").glob("costcurve-*.whl")
    names = ZipFile(wheel).namelist()
    assert {"service/app.py", "workers/engines/fused_cpu.py", "costcurve/store/jobs.py"} <= set(names)
    assert not [name for name in names if name.endswith(".so")]
