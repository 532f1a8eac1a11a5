"""Print the path of the newest Python on this machine that the project supports; nothing if this one is the newest.

The supported versions are the classifiers in pyproject.toml. Looked for in PATH, and where pyenv and uv keep theirs.
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
# What a virtual environment for the tests needs of it.
CHECK = "import ensurepip, sqlite3, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"


def supported() -> list[str]:
    """Return the versions that the project names, newest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.findall(r"Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    return sorted(found, key=lambda version: int(version.split(".")[1]), reverse=True)


def interpreters(version: str) -> list[Path]:
    """Return where an interpreter of this version may be."""
    in_path = shutil.which(f"python{version}")
    kept = [*PYENV.glob(f"{version}.*/bin/python{version}"), *UV.glob(f"cpython-{version}.*/bin/python{version}")]
    return [*([Path(in_path)] if in_path else []), *sorted(kept, reverse=True)]


def works(interpreter: Path, version: str) -> bool:
    """Return True if it starts, is of this version, and can make a virtual environment; a shim may be neither."""
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
