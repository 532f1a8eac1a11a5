"""A Docker engine, and the project's compose file on it under a name of its own."""

import os
import secrets
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.conftest import ROOT


@cache
def docker_command() -> tuple[str, ...]:
    """How docker is called here; COSTCURVE_TEST_DOCKER may put a command before it."""
    return (*shlex.split(os.environ.get("COSTCURVE_TEST_DOCKER", "")), "docker")


@cache
def why_missing() -> str | None:
    """Why no engine can be used here; None if one can."""
    command = docker_command()
    if shutil.which(command[0]) is None:
        return f"there is no {command[0]} here"
    for question in (["version", "--format", "{{.Server.Version}}"], ["compose", "version"], ["buildx", "version"]):
        answer = subprocess.run([*command, *question], capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode != 0:
            return f"docker {question[0]}: {' '.join(answer.stderr.split()) or f'exit code {answer.returncode}'}"
    return None


def docker(
    *arguments: str, check: bool = True, timeout: float = 120, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run docker; unless it is not to be checked, its failure fails the test, with what it said."""
    ran = subprocess.run(
        [*docker_command(), *arguments],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not check or ran.returncode == 0, f"docker {' '.join(arguments)}\n{ran.stdout[-5000:]}\n{ran.stderr[-5000:]}"
    return ran


SECRETS = (
    "database_admin_password",
    "database_owner_password",
    "database_app_password",
    "grafana_password",
    "ray_token",
)


def make_secrets(folder: Path, **values: str) -> Path:
    """Write a file for each secret of the compose file, with these values or other made-up ones."""
    folder.mkdir(mode=0o700)
    for name in SECRETS:
        (folder / name).write_text(values.get(name) or secrets.token_hex(8))
        (folder / name).chmod(0o444)
    return folder


@dataclass
class Compose:
    """The compose file with these settings; of the caller's own, only what builds and names base images is kept."""

    project: str
    settings: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        ours = ("COMPOSE_", "COSTCURVE_", "GRAFANA_", "RAY_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return docker(
            "compose",
            # Not the developer's .env.
            "--env-file=/dev/null",
            "--progress=plain",
            f"--project-name={self.project}",
            *arguments,
            check=check,
            timeout=timeout,
            environment=inherited | self.settings,
        )

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, running or not."""
        return self("ps", "--all", "--quiet", service).stdout.split()


def inspect(container: str, template: str) -> str:
    """What Docker knows of a container or an image, by a template of Go."""
    return docker("inspect", "--format", template, container).stdout.strip()
