"""The pip requirements of one of the project's extras.

They are read from pyproject.toml. A Docker layer made from them, not from pyproject.toml, stays cached until a
dependency changes.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


def requirements(project: dict, extra: str) -> Iterator[str]:
    """Yield the requirements of an extra and of the extras that it contains.

    With extra "", yield those of the project itself.

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
    """Print the requirements, one per line."""
    parser = argparse.ArgumentParser(description="Print the requirements of the project with one of its extras.")
    parser.add_argument("extra")
    parser.add_argument("--only", help="print only the requirement of this package")
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
