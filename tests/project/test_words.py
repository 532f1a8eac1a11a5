"""Plain words: the terms of the glossary in CONTRIBUTING.md, and none of those that hide who does what."""

import re
import subprocess

import pytest

from tests.conftest import ROOT

BANNED = (
    *(
        "somebody",
        "nobody",
        "everybody",
        "anybody",
        "whoever",
        "whatever",
        "told",
        "tells? of",
        "in hand",
        "goes on",
        "go on",
    ),
    *("anew", "beside", "but for", "so many", "so long"),
)
READ = ("costcurve", "service", "workers", "docs", "deploy", "benchmarks", ".ci", ".env.example", "*.md", "Makefile")
# What was measured or migrated stays as it was written.
KEPT = ("benchmarks/records/", "costcurve/store/migrations/versions/")


def test_code_documentation_and_help_have_none_of_the_banned_words():
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", *READ], capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"needs the repository: {error}")
    word = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
    names = [name for name in listed.stdout.splitlines() if not name.startswith(KEPT)]
    found = [
        f"{name}:{number}: {match[0]}"
        for name in names
        if (ROOT / name).suffix not in (".svg", ".png", ".npz")
        for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1)
        if (match := word.search(line))
    ]

    assert len(names) > 300
    assert found == []
