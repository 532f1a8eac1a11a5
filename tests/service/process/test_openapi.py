"""The OpenAPI document against the running service: whatever it allows to be sent, it also describes the answer to."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.mark.slow
def test_every_answer_is_one_that_the_document_describes(service, tmp_path):
    schemathesis = Path(sys.executable).with_name("schemathesis")
    run = subprocess.run(
        [schemathesis, "run", f"{service.url}/openapi.json", "--checks", ",".join(CHECKS), "--max-examples", "10"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
