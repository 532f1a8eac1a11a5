"""The OpenAPI document against the running service: whatever it allows to be sent, it also describes the answer to."""

import re
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


# Every phase, with so many examples that there are more than 5,000 requests.
THOROUGH = [pytest.mark.long, pytest.mark.timeout(3600)]
MANY = ("--max-examples", "60")


def checked(url: str, folder: Path, *options: str, checks: tuple[str, ...] = CHECKS) -> int:
    """Let schemathesis send what the document allows, check the answers, and return the number of requests."""
    schemathesis = Path(sys.executable).with_name("schemathesis")
    run = subprocess.run(
        [schemathesis, "run", f"{url}/openapi.json", "--checks", ",".join(checks), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    [generated] = re.findall(r"(\d+) generated", run.stdout)
    return int(generated)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "least"),
    [
        pytest.param(("--phases", "fuzzing,stateful", "--max-examples", "4"), 150, id="few"),
        pytest.param(MANY, 5000, id="thousands", marks=THOROUGH),
    ],
)
def test_every_answer_is_one_that_the_document_describes(service, tmp_path, options, least):
    assert checked(service.url, tmp_path, *options) >= least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "least"),
    [
        pytest.param(("--phases", "coverage,stateful", "--max-examples", "4"), 1000, id="few"),
        pytest.param(MANY, 5000, id="thousands", marks=THOROUGH),
    ],
)
def test_with_keys_every_answer_is_one_that_the_document_describes(tmp_path, options, least):
    settings = {
        "COSTCURVE_AUTH": "keys",
        "COSTCURVE_INIT_KEY_FILE": str(tmp_path / "first-key"),
        "COSTCURVE_KEY_REQUESTS_PER_SECOND": "100000",
    }
    with Deployment(tmp_path, environment=settings) as deployment:
        deployment.start_service()
        key = (tmp_path / "first-key").read_text().strip()
        # It would find and revoke its own key.
        mine = ("--header", f"Authorization: Bearer {key}", "--exclude-operation-id", "revoke_key")
        assert checked(deployment.url, tmp_path, *mine, *options, checks=(*CHECKS, "ignored_auth")) >= least
