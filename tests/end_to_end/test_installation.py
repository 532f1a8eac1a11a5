"""Installing: the library alone, as a user's script has it, and the compiled kernel where nothing can be compiled."""

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.long]

NO_COMPILER = {"CC": "/nowhere/cc", "CXX": "/nowhere/c++"}
TYPED = """
from costcurve import Client, Job


def last_cost(job: Job) -> float | None:
    with Client() as client:
        job = client.wait(client.submit(preset="neuron-slow-quadratic").id, timeout=60)
        return client.curve(job.id).series["cost"][-1]


print(last_cost.__name__)
"""
BESIDE_OTHERS = """
from costcurve import Client
import jobs, service, workers

print(Client.__module__, jobs.MINE, service.MINE, workers.MINE)
"""
MISTAKEN = """
from costcurve import Client

with Client() as client:
    wrong: int = client.submit(preset="neuron-slow-quadratic").status
    client.submit(prest="neuron-slow-quadratic")
"""


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment, **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )


def succeeded(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the library's sdist, and the wheel that is built from it without a compiler."""
    folder = tmp_path_factory.mktemp("dist")
    succeeded(run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder, **NO_COMPILER))
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """An environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False)
    [wheel] = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    succeeded(run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=built, **NO_COMPILER))
    return folder


def test_the_wheel_is_one_typed_package_of_python_and_has_its_data(built):
    [wheel] = built.glob("*.whl")
    names = ZipFile(wheel).namelist()

    assert wheel.name.endswith("-py3-none-any.whl")
    assert {name.split("/")[0].removesuffix("-0.1.0.dist-info") for name in names} == {"costcurve"}
    assert {"costcurve/py.typed", "costcurve/article/page.html"} <= set(names)
    assert "costcurve/analysis/forecast/mnist_sample.npz" in names
    assert {"costcurve/store/migrations/versions/0001_jobs.py", "costcurve/store/migrations/env.py"} <= set(names)


def test_the_sdist_has_the_programs_and_the_kernel_and_nothing_that_a_build_leaves(built):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}

    assert {"service/app.py", "workers/engines/native/kernel.cpp", "tests/conftest.py", "Makefile"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith((".venv", "build/"))]


def test_a_script_with_modules_of_our_programs_names_beside_it_uses_the_client(installed, tmp_path):
    (tmp_path / "jobs.py").write_text("MINE = 1\n")
    for name in ("service", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = 1\n")
    (tmp_path / "script.py").write_text(BESIDE_OTHERS)
    python = installed / "bin" / "python"

    assert succeeded(run(python, "script.py", cwd=tmp_path)) == "costcurve.client.client 1 1 1\n"
    assert succeeded(run(installed / "bin" / "costcurve", "--version", cwd=tmp_path)) == "costcurve 0.1.0\n"
    for command in ([installed / "bin" / "costcurve"], [python, "-m", "costcurve"]):
        refused = run(*command, "up", cwd=tmp_path)
        assert refused.returncode == 1
        assert "the program `service` is not installed" in refused.stderr


def test_a_type_checker_knows_the_clients_methods_and_what_they_return(installed, tmp_path):
    (tmp_path / "script.py").write_text(TYPED)
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "bin" / "python"]

    succeeded(run(*mypy, "script.py", cwd=tmp_path))
    found = run(*mypy, "mistaken.py", cwd=tmp_path).stdout
    assert 'Incompatible types in assignment (expression has type "str", variable has type "int")' in found
    assert 'Unexpected keyword argument "prest"' in found


def test_help_shows_a_methods_arguments_and_what_it_returns(installed, tmp_path):
    asks = "import costcurve; help(costcurve.Client.submit)"
    text = succeeded(run(installed / "bin" / "python", "-c", asks, cwd=tmp_path))

    assert "submit(self, /, spec:" in text
    assert "max_runtime_seconds: float | None" in text
    assert "-> costcurve.client.types.SubmittedJob\n" in text


def test_the_kernel_installs_without_a_compiler_and_brings_nothing(tmp_path):
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels]
    build = f"--config-settings=build-dir={tmp_path / 'build'}"
    succeeded(run(*pip, build, ROOT / "workers" / "engines" / "native", cwd=tmp_path, **NO_COMPILER))

    [wheel] = wheels.glob("costcurve_kernel-*.whl")
    assert {name.split("/")[0] for name in ZipFile(wheel).namelist()} == {"costcurve_kernel-0.1.0.dist-info"}
