"""The compose file before anything is started: complete, valid with every profile, and without a secret of its own."""

import json
import re
import subprocess

import pytest

from tests.conftest import ROOT
from tests.deploy.engine import Compose

SECRETS = {"POSTGRES_PASSWORD": "secret"}


def services(*options: str) -> dict[str, dict]:
    """The services of the compose file with these options, every variable filled in."""
    return json.loads(Compose("costcurve", SECRETS)(*options, "config", "--format=json").stdout)["services"]


def test_without_a_password_it_refuses_to_start_and_says_how_to_make_one(tmp_path):
    refused = Compose("costcurve")("up", "--detach", check=False)
    assert refused.returncode != 0
    assert "required variable POSTGRES_PASSWORD is missing" in refused.stderr

    [recipe] = re.findall(r"Create one with: (printf .* >> \.env)$", refused.stderr, re.MULTILINE)
    subprocess.run(["sh", "-c", recipe], cwd=tmp_path, check=True)
    [(name, value)] = re.findall(r"^(\w+)=([0-9a-f]{48})$", (tmp_path / ".env").read_text(), re.MULTILINE)
    assert Compose("costcurve", {name: value})("config", "--quiet").returncode == 0


def test_what_starts_by_itself_needs_neither_a_gpu_nor_an_image_of_others():
    plain = services()

    assert set(plain) == {"db", "migrate", "service", "worker"}
    assert [name for name, service in plain.items() if "deploy" in service] == []


@pytest.mark.parametrize(
    ("profile", "adds"),
    [("gpu", {"worker-gpu"}), ("monitoring", {"prometheus", "grafana"}), ("ray", {"ray-head", "ray-worker"})],
)
def test_a_profile_adds_its_services(profile, adds):
    assert set(services("--profile", profile)) - set(services()) == adds


def test_every_service_gives_up_what_it_does_not_need():
    for name, service in services("--profile=*").items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"], name


def test_only_this_machine_reaches_what_is_published():
    published = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in services("--profile=*").items()
        if "ports" in service
    }

    assert set(published) >= {"service", "prometheus", "grafana"}
    assert {address for addresses in published.values() for address in addresses} == {"127.0.0.1"}


def test_every_variable_of_the_compose_file_is_in_the_example():
    named = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    shown = set(re.findall(r"^#? ?(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert named == shown


def test_the_example_has_no_secret_and_a_real_one_cannot_be_committed_by_mistake():
    lines = (ROOT / ".env.example").read_text().splitlines()

    assert [line for line in lines if re.search(r"\w*(PASSWORD|TOKEN)\w*=[^%]", line)] == []
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_grafana_and_ray_start_with_no_secret_either():
    for name, variable in {
        "grafana": "GRAFANA_ADMIN_PASSWORD",
        "ray-head": "RAY_AUTH_TOKEN",
        "ray-worker": "RAY_AUTH_TOKEN",
    }.items():
        service = services("--profile=*")[name]
        shell, option, script = service.get("entrypoint") or service["command"]
        seen = subprocess.run(
            [shell, option, script.replace("$$", "$")], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )

        assert seen.returncode != 0
        assert f"Put {variable} into .env" in seen.stderr
