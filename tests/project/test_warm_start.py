"""Programs of tests that are forked are programs like others; one with an interpreter of its own is not forked."""

import os

import pytest

from tests.helpers import warm_start


@pytest.mark.parametrize("variables", [{"COSTCURVE_NAME": "a"}, {"PYTHONPATH": "/elsewhere"}], ids=["forked", "begun"])
def test_a_program_has_its_own_environment_arguments_and_exit_code(tmp_path, variables):
    seen = tmp_path / "seen"
    with seen.open("wb") as output:
        program = warm_start.start(
            ["tests.helpers.forked", "x"],
            environment={**os.environ, **variables},
            output=output.fileno(),
            pass_fds=[],
        )
    code = program.wait(60)

    name, path = variables.get("COSTCURVE_NAME"), "PYTHONPATH" in variables
    assert seen.read_text() == f"['x'] {name} {path} True\n"
    assert (code, program.returncode, program.poll()) == (3, 3, 3)
