"""The OpenAPI document against the running service: whatever it allows to be sent, it also describes the answer to."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import Deployment

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


def checked(url: str, folder: Path, *options: str, checks: tuple[str, ...] = CHECKS) -> None:
    """Let schemathesis send what the document allows, and check the answers."""
    schemathesis = Path(sys.executable).with_name("schemathesis")
    run = subprocess.run(
        [
            *(schemathesis, "run", f"{url}/openapi.json", "--checks", ",".join(checks), "--max-examples", "20"),
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_every_answer_is_one_that_the_document_describes(service, tmp_path):
    checked(service.url, tmp_path)


@pytest.mark.slow
def test_with_keys_every_answer_is_one_that_the_document_describes(tmp_path):
    settings = {
        "COSTCURVE_AUTH": "keys",
        "COSTCURVE_INIT_KEY_FILE": str(tmp_path / "first-key"),
        "COSTCURVE_KEY_REQUESTS_PER_SECOND": "100000",
    }
    with Deployment(tmp_path, environment=settings) as deployment:
        deployment.start_service()
        key = (tmp_path / "first-key").read_text().strip()
        # It would find and revoke its own key.
        options = ("--header", f"Authorization: Bearer {key}", "--exclude-operation-id", "revoke_key")
        checked(deployment.url, tmp_path, *options, checks=(*CHECKS, "ignored_auth"))
