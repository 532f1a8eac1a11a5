"""deploy/secrets.sh: the passwords of docker-compose.yml."""

import re
import shutil
import subprocess
from pathlib import Path
from stat import S_IMODE

import pytest

from tests.conftest import ROOT


@pytest.fixture
def script(tmp_path) -> Path:
    """The script in a project without passwords."""
    (tmp_path / "deploy").mkdir()
    return Path(shutil.copy(ROOT / "deploy" / "secrets.sh", tmp_path / "deploy"))


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_it_creates_what_the_compose_file_reads_for_nobody_else_to_enter(script, tmp_path):
    subprocess.run(["sh", str(script)], check=True)
    made = contents(tmp_path / "secrets")
    compose = (ROOT / "docker-compose.yml").read_text()

    assert made.keys() == set(re.findall(r"^  (\w+): \{file: ", compose, re.MULTILINE))
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in made.values())
    assert len({*made.values()}) == len(made)
    assert S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    # Users of the containers read them.
    assert {S_IMODE(file.stat().st_mode) for file in (tmp_path / "secrets").iterdir()} == {0o444}
    assert (tmp_path / ".env").read_text() == "COSTCURVE_SECRETS=./secrets\n"
    assert S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_it_replaces_nothing(script, tmp_path):
    (tmp_path / ".env").write_text("COSTCURVE_PORT=80\n")
    subprocess.run(["sh", str(script), "other"], check=True)
    before = contents(tmp_path / "other")
    (tmp_path / "other" / "ray_token").unlink()
    subprocess.run(["sh", str(script), "other"], check=True)
    after = contents(tmp_path / "other")

    assert before.pop("ray_token") != after.pop("ray_token")
    assert before == after
    assert (tmp_path / ".env").read_text() == "COSTCURVE_PORT=80\nCOSTCURVE_SECRETS=other\n"


def test_neither_the_passwords_nor_their_place_can_be_committed_by_mistake():
    assert {"/.env", "/secrets/"} <= {*(ROOT / ".gitignore").read_text().splitlines()}
