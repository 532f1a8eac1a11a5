"""The requirements that the images install, each with its version and the SHA-256 of its files.

`make hashes` writes deploy/docker/requirements/ with uv, from pyproject.toml and constraints.txt. pip installs from
these files with --require-hashes, so a file that another has replaced at a package index is refused.
torch-cpu.txt is kept by hand, because its files are at PyTorch's own index.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from requirements import requirements

# What torch's build for CPUs does without. Their requirements come from torch's wheel for CUDA.
_FOR_CUDA = re.compile(r"torch|triton|(nvidia|cuda)-.*")
# What scikit-build-core asks for when it builds, if the machine has neither.
_BUILD_PROGRAMS = ["cmake", "ninja"]
_HEADER = "# Written by `make hashes`.\n"


def pinned(uv: str, lines: list[str], constraints: Path) -> dict[str, str]:
    """Return the text of each requirement with its hashes, by the package's name.

    Args:
        uv: the path of the program uv.
        lines: the requirements to resolve.
        constraints: a file with the versions.

    Raises:
        subprocess.CalledProcessError: uv could not resolve them; it has written why.
    """
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command = [uv, "pip", "compile", "--no-config", *options, f"--constraint={constraints}", "-"]
    ran = subprocess.run(command, input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    entries = re.findall(r"^([\w.-]+)(==.*(?:\n .*)*\n)", ran.stdout, re.MULTILINE)
    return {name: name + rest for name, rest in entries}


def build_requirements(folder: Path) -> list[str]:
    """Return what builds the project's two distributions."""
    files = [folder / "pyproject.toml", folder / "workers/engines/native/pyproject.toml"]
    return [*(line for file in files for line in tomllib.loads(file.read_text())["build-system"]["requires"])]


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Write the requirements of the images, with hashes.")
    parser.add_argument("--uv", default="uv", help="the program uv (%(default)s)")
    parser.add_argument("--project", type=Path, default=Path(), help="the project's folder (%(default)s)")
    arguments = parser.parse_args()
    project = tomllib.loads((arguments.project / "pyproject.toml").read_text())["project"]
    constraints = arguments.project / "constraints.txt"

    def of_extra(extra: str) -> dict[str, str]:
        lines = sorted({*requirements(project, ""), *requirements(project, extra)})
        return pinned(arguments.uv, lines, constraints)

    worker = of_extra("worker")
    cuda = {name: text for name, text in worker.items() if _FOR_CUDA.fullmatch(name)}
    files = {
        "service": of_extra("service"),
        "worker": {name: text for name, text in worker.items() if name not in cuda},
        "torch-cuda": cuda,
        "ray": {name: text for name, text in of_extra("ray").items() if name not in worker},
        "build": pinned(arguments.uv, [*build_requirements(arguments.project), *_BUILD_PROGRAMS], constraints),
    }
    folder = arguments.project / "deploy/docker/requirements"
    for name, entries in files.items():
        (folder / f"{name}.txt").write_text(_HEADER + "".join(entries.values()))
        sys.stdout.write(f"{folder / name}.txt: {len(entries)} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
