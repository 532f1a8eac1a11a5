"""The Python for `make test-newest`: the newest supported one that works."""

import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SUPPORTED = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
THIS = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def found(tmp_path):
    """Run the script where pyenv keeps these versions, with what each of them says; return what it prints."""

    def found(**says: str) -> str:
        for name, answer in says.items():
            version = name.removeprefix("python").replace("_", ".")
            program = tmp_path / "versions" / f"{version}.1" / "bin" / f"python{version}"
            program.parent.mkdir(parents=True)
            program.write_text(f"#!/bin/sh\n{answer}\n")
            program.chmod(0o755)
        environment = {"PATH": "", "PYENV_ROOT": str(tmp_path), "UV_PYTHON_INSTALL_DIR": str(tmp_path / "none")}
        script = ROOT / ".ci" / "newest_python.py"
        return subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, check=True
        ).stdout

    return found


def test_the_oldest_supported_version_is_the_one_that_an_installation_requires():
    assert PROJECT["requires-python"] == f">={SUPPORTED[0]}"
    assert THIS in SUPPORTED


def test_of_several_the_newest_is_taken(found, tmp_path):
    path = found(python3_12="echo 3.12", python3_13="echo 3.13", python3_99="echo 3.99")

    assert path == ("" if THIS == "3.13" else f"{tmp_path}/versions/3.13.1/bin/python3.13\n")


def test_one_that_does_not_work_is_passed_over(found, tmp_path):
    path = found(python3_12="echo 3.12", python3_13="exit 127")

    assert path == ("" if THIS in ("3.12", "3.13") else f"{tmp_path}/versions/3.12.1/bin/python3.12\n")


def test_none_is_named_where_this_one_is_the_newest(found):
    assert found(python3_10="echo 3.10", python3_99="echo 3.99") == ""
