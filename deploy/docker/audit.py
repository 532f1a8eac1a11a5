"""Known vulnerabilities of the packages that files of requirements pin.

`make audit` runs it. pip-audit asks the vulnerability database of the Python package index. By itself it succeeds if
no package is known there, as with a mirror of the index that lacks this database. So this script counts the answers.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_PIN = re.compile(r"^([\w.-]+)==([\w.!-]+)(?:\+[\w.]+)?", re.MULTILINE)
VULNERABLE, NOT_AUDITED = 1, 2


def pins(texts: list[str]) -> list[str]:
    """Return the versions that files pin, without hashes and markers.

    A local version such as +cpu is a build of the version that the database knows.
    """
    return sorted(
        {f"{name.lower().replace('_', '-')}=={version}" for text in texts for name, version in _PIN.findall(text)}
    )


def judge(report: dict, wanted: int) -> tuple[int, list[str]]:
    """Return the exit code, and a line for each vulnerability and each package without an answer.

    Args:
        report: what pip-audit prints as JSON.
        wanted: the number of packages that were asked for.
    """
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'none'}"
        for package in packages
        for each in package.get("vulns", ())
    ]
    skipped = [f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package]
    answered = len(packages) - len(skipped)
    lines = [*found, *skipped, f"{answered} of {wanted} packages audited, {len(found)} known vulnerabilities"]
    if found:
        return VULNERABLE, lines
    return (0 if answered == wanted else NOT_AUDITED), lines


def main() -> int:
    """Audit the files; return 0 only if each package was audited and none has a known vulnerability."""
    parser = argparse.ArgumentParser(description="Look for known vulnerabilities of pinned packages.")
    parser.add_argument("files", type=Path, nargs="+", help="files of requirements")
    wanted = pins([file.read_text() for file in parser.parse_args().files])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        options = [
            "--no-deps",
            "--disable-pip",
            "--progress-spinner=off",
            "--format=json",
            f"--requirement={file.name}",
        ]
        command = [sys.executable, "-m", "pip_audit", *options]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if not ran.stdout.strip():
        sys.stderr.write(f"{ran.stderr.strip().rpartition(chr(10))[2]}\n")  # the last line of a traceback
        sys.stderr.write("Nothing was audited: the vulnerability database of the package index could not be asked.\n")
        return NOT_AUDITED
    code, lines = judge(json.loads(ran.stdout), len(wanted))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if code == NOT_AUDITED:
        sys.stderr.write(
            "The audit is not complete: the package index has no vulnerability database, or not for these packages. "
            "Run it where pypi.org can be reached.\n"
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
