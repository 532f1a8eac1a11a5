"""The documentation is complete, or the build is red."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from costcurve.article.contents import CLAIMS
from costcurve.core import errors
from costcurve.core.errors import ApiError, JobFailure
from costcurve.core.presets import PRESETS, SWEEP_PRESETS
from costcurve.core.status import TRANSITIONS
from costcurve.runtime.settings import Settings
from service.app import CostCurve, create_app
from tests.conftest import ROOT
from tests.helpers import reaper

DOCS = ROOT / "docs"
DOCUMENTS = [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md"]
SOURCES = [path for package in ("costcurve", "service", "workers") for path in (ROOT / package).rglob("*.py")]


def test_every_setting_is_documented():
    named = {match for path in SOURCES for match in re.findall(r"COSTCURVE_[A-Z_]*[A-Z]", path.read_text())}
    fields = {f"COSTCURVE_{name.upper()}" for name in Settings.model_fields}
    documented = set(re.findall(r"^\| `(COSTCURVE_[A-Z_]+)`", (DOCS / "settings.md").read_text(), re.MULTILINE))

    assert {"COSTCURVE_HOME", "COSTCURVE_DATABASE_URL", "COSTCURVE_DATA_DIR", "COSTCURVE_URL"} <= named | fields
    assert documented == named | fields


def test_every_error_code_is_documented_with_its_status():
    text = (DOCS / "errors.md").read_text()
    classes = [value for value in vars(errors).values() if isinstance(value, type)]

    assert set(re.findall(r"^\| `(\w+)` \| \d+ \|", text, re.MULTILINE)) == {
        error.code for error in classes if issubclass(error, ApiError) and error is not ApiError
    }
    assert set(re.findall(r"^\| `(\w+)` \| [a-z]", text, re.MULTILINE)) == {
        error.code for error in classes if issubclass(error, JobFailure) and error is not JobFailure
    }
    for error in classes:
        if issubclass(error, ApiError) and error is not ApiError:
            assert f"| `{error.code}` | {error.status} |" in text


def test_every_route_is_documented(store):
    app = create_app(store._database)
    assert isinstance(app, CostCurve)
    text = (DOCS / "http.md").read_text()

    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            assert f"| `{method.upper()} {path}` |" in text


def test_every_preset_is_documented():
    text = (DOCS / "experiments.md").read_text()

    assert [name for name in PRESETS if f"`{name}`" not in text] == []


def test_every_claim_of_the_article_is_documented_with_its_verdict():
    text = (DOCS / "article.md").read_text()

    assert [claim.title for claim in CLAIMS if f"| {claim.title} | " not in text] == []


def test_every_ready_sweep_is_documented():
    text = (DOCS / "experiments.md").read_text()

    assert [name for name in SWEEP_PRESETS if f"| `{name}` |" not in text] == []


def test_the_lifecycle_diagram_is_made_from_the_transition_table():
    text = (DOCS / "architecture.md").read_text()
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", text, re.MULTILINE)

    assert {(source, to, what) for source, targets in TRANSITIONS.items() for to, what in targets.items()} == set(
        arrows
    )


@pytest.mark.parametrize(("document", "part"), [("architecture.md", "lifecycle"), ("experiments.md", "metrics")])
def test_generated_parts_are_as_the_code_makes_them(document, part):
    text = (DOCS / document).read_text()
    generated = runpy.run_path(str(DOCS / "generate.py"))["generated"]

    assert f"<!-- {part} -->\n" in text
    assert generated(text) == text, "say: make docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (document.parent / link).exists()] == []


def test_the_code_that_the_threat_model_names_exists_and_the_readme_leads_there():
    text = (ROOT / "SECURITY.md").read_text()
    paths = re.findall(r"`([a-z][\w.-]*/[\w./-]*)`", text)

    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()


def test_the_readme_names_the_two_commands_and_nothing_of_the_developers_own_machines():
    text = (ROOT / "README.md").read_text()

    assert "make demo" in text
    assert "make test" in text
    assert "../shared" not in text


@pytest.mark.parametrize(
    "skips",
    [
        "import pytest\n\n\ndef test_it():\n    pytest.skip('no reason')\n",
        "import pytest\n\npytest.importorskip('no_such_module')\n",
    ],
    ids=["test", "module"],
)
@pytest.mark.slow
def test_in_ci_a_skip_fails_the_run(tmp_path, skips):
    (tmp_path / "test_skips.py").write_text(skips)
    (tmp_path / "test_passes.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())

    def status(**environment: str) -> int:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(tmp_path)]
        path = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(Path.home())}
        path[reaper.MARK] = os.environ[reaper.MARK]
        return subprocess.run(command, env=path | environment, capture_output=True, check=False).returncode

    assert status() == 0
    assert status(CI="true") == 1
