"""The README, typed line by line, as a newcomer types it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers.processes import Deployment

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()


def test_every_line_works_as_typed_in_this_order(tmp_path, mnist_dir):
    shell = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    [python] = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "script.py").write_text(python)
    (tmp_path / "home").mkdir()
    with Deployment(tmp_path / "home", mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers()
        lines = "\n".join(["set -euxo pipefail", 'curl() { command curl --fail-with-body "$@"; }', *shell])
        lines = lines.replace("http://127.0.0.1:8000", deployment.url)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        typed = subprocess.run(
            ["bash", "-c", f"{lines}\npython script.py"],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "COSTCURVE_URL": deployment.url},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    assert typed.returncode == 0, typed.stdout[-3000:] + typed.stderr[-3000:]
    assert "warning: output_saturated_quadratic" in typed.stdout
    made = {file.name: file.read_bytes()[:5] for file in tmp_path.iterdir() if file.is_file()}
    assert made.keys() == {"script.py", "cure.svg", "curve.svg", "sweep.svg", "model.onnx"}
    assert {made[name] for name in ("cure.svg", "curve.svg", "sweep.svg")} == {b"<?xml"}
