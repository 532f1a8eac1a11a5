"""Prints the path of the newest supported Python on this machine.

It prints nothing if the running Python is the newest. The supported versions are the classifiers in pyproject.toml. The
script looks in PATH and in the folders of pyenv and uv.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
UV = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
# Modules that a virtual environment for the tests needs.
CHECK = "import ensurepip, sqlite3, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def supported() -> list[str]:
    """Return the versions that pyproject.toml lists, newest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.findall(r"Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    return sorted(found, key=lambda version: int(version.split(".")[1]), reverse=True)


def interpreters(version: str) -> list[Path]:
    """Return the paths where an interpreter of this version may be."""
    in_path = shutil.which(f"python{version}")
    kept = [*PYENV.glob(f"{version}.*/bin/python{version}"), *UV.glob(f"cpython-{version}.*/bin/python{version}")]
    return [*([Path(in_path)] if in_path else []), *sorted(kept, reverse=True)]


def works(interpreter: Path, version: str) -> bool:
    """Return True if this interpreter can make a virtual environment.

    It must also have this version: a shim may start another one, or none.
    """
    ran = subprocess.run([interpreter, "-I", "-c", CHECK], capture_output=True, text=True, check=False)
    return ran.returncode == 0 and ran.stdout.strip() == version


def main() -> None:
    this = "{}.{}".format(*sys.version_info[:2])
    for version in supported():
        if version == this:
            return
        for interpreter in interpreters(version):
            if works(interpreter, version):
                sys.stdout.write(f"{interpreter}\n")
                return


if __name__ == "__main__":
    main()
