"""What pip must install for one of the project's extras, read from pyproject.toml.

A layer of dependencies that is made of this, and not of pyproject.toml, stays cached until a dependency changes.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


def requirements(project: dict, extra: str) -> Iterator[str]:
    """The requirements of an extra and of the extras that it is made of; of the project itself, with extra "".

    Raises:
        KeyError: there is no such extra.
    """
    for requirement in project["optional-dependencies"][extra] if extra else project["dependencies"]:
        own = re.fullmatch(rf"{project['name']}\[([\w,-]+)\]", requirement)
        if own is None:
            yield requirement
        else:
            for part in own[1].split(","):
                yield from requirements(project, part)


def main() -> int:
    """Print the requirements, one on a line."""
    parser = argparse.ArgumentParser(description="The requirements of the project with one of its extras.")
    parser.add_argument("extra")
    parser.add_argument("--only", help="of these, only the one for this package")
    parser.add_argument("--pyproject", type=Path, default=Path("pyproject.toml"))
    arguments = parser.parse_args()
    project = tomllib.loads(arguments.pyproject.read_text())["project"]
    lines = sorted({*requirements(project, ""), *requirements(project, arguments.extra)})
    if arguments.only is not None:
        lines = [line for line in lines if re.match(r"[\w.-]+", line)[0] == arguments.only]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if lines else 1


if __name__ == "__main__":
    sys.exit(main())
