"""The compose file before anything is started: complete, valid with every profile, and without a secret of its own."""

import json
import re
import subprocess
from functools import cache

import pytest

from tests.conftest import ROOT
from tests.deploy.engine import Compose

SETTINGS = {"COSTCURVE_SECRETS": "/secrets", "COSTCURVE_DOMAIN": "lab.example.org"}
DATABASE_CLIENTS = {"roles", "migrate", "service", "worker", "worker-gpu", "ray-head", "ray-worker"}


@cache
def configuration(*options: str) -> dict[str, dict]:
    """The compose file with these options, every variable filled in."""
    return json.loads(Compose("costcurve", SETTINGS)(*options, "config", "--format=json").stdout)


def services(*options: str) -> dict[str, dict]:
    return configuration(*options)["services"]


def test_without_passwords_it_refuses_to_start_and_names_the_script_that_makes_them(tmp_path):
    refused = Compose("costcurve")("up", "--detach", check=False)
    assert refused.returncode != 0
    assert "required variable COSTCURVE_SECRETS is missing" in refused.stderr
    assert "Create passwords with: sh deploy/secrets.sh" in refused.stderr


def test_what_starts_by_itself_needs_neither_a_gpu_nor_an_image_of_others():
    plain = services()

    assert set(plain) == {"db", "roles", "migrate", "service", "worker"}
    assert [name for name, service in plain.items() if "deploy" in service] == []


@pytest.mark.parametrize(
    ("profile", "adds"),
    [
        ("gpu", {"worker-gpu"}),
        ("tls", {"caddy"}),
        ("monitoring", {"prometheus", "grafana"}),
        ("ray", {"ray-head", "ray-worker"}),
    ],
)
def test_a_profile_adds_its_services(profile, adds):
    assert set(services("--profile", profile)) - set(services()) == adds


def test_every_service_gives_up_what_it_does_not_need():
    for name, service in services("--profile=*").items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"], name
        # The capability that Caddy's program has in its file.
        assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else []), name


def test_every_service_has_limits_of_memory_processes_and_cpus():
    for name, service in services("--profile=*").items():
        assert int(service["mem_limit"]) > 2**28, name
        assert 0 < service["pids_limit"] <= 4096, name
        assert 0 < service["cpus"] <= 2, name


def test_only_what_needs_the_database_reaches_it():
    networks = {name: {*service["networks"]} for name, service in services("--profile=*").items()}
    internal = {name for name, network in configuration("--profile=*")["networks"].items() if network.get("internal")}

    assert {name for name, seen in networks.items() if "database" in seen} == {"db", *DATABASE_CLIENTS}
    assert networks["db"] == {"database"}
    assert networks["prometheus"] & networks["service"] & networks["worker"] == {"metrics"}
    assert networks["caddy"] & networks["service"] == {"proxy"}
    assert {name for name, seen in networks.items() if "proxy" in seen} == {"caddy", "service"}
    assert {"database", "metrics", "proxy", "ray"} == internal


def test_the_service_believes_the_proxys_headers_alone():
    [subnet] = configuration("--profile=*")["networks"]["proxy"]["ipam"]["config"]

    assert services()["service"]["environment"]["COSTCURVE_TRUSTED_PROXIES"] == subnet["subnet"]


def test_no_password_is_in_an_environment_and_each_service_gets_those_of_its_roles():
    for name, service in services("--profile=*").items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|TOKEN|SECRET", variable) or value.startswith("/run/secrets/"), (
                name,
                variable,
            )
        assert "@" not in service.get("environment", {}).get("COSTCURVE_DATABASE_URL", "").split("_")[0]
    given = {name: {each["source"] for each in service.get("secrets", [])} for name, service in services().items()}

    assert given == {
        "db": {"database_admin_password"},
        "roles": {"database_admin_password", "database_owner_password", "database_app_password"},
        "migrate": {"database_owner_password"},
        "service": {"database_app_password"},
        "worker": {"database_app_password"},
    }
    users = {
        name: service["environment"].get("COSTCURVE_DATABASE_URL")
        for name, service in services("--profile=*").items()
        if name in DATABASE_CLIENTS - {"roles"}
    }
    assert users.pop("migrate") == "postgresql://costcurve_owner@db/costcurve"
    assert {*users.values()} == {"postgresql://costcurve_app@db/costcurve"}


def test_keys_are_required_and_the_domain_is_a_host_of_the_service():
    environment = services()["service"]["environment"]

    assert environment["COSTCURVE_AUTH"] == "keys"
    assert environment["COSTCURVE_ALLOWED_HOSTS"].endswith(",service,lab.example.org")
    assert Compose("costcurve", {"COSTCURVE_SECRETS": "/secrets"})("config", "--quiet").stderr == ""


def test_images_of_others_have_exact_versions():
    named = re.findall(r"\$\{\w+_IMAGE:-(.+)\}", (ROOT / "docker-compose.yml").read_text())

    assert [image for image in named if not re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)*$", image)] == []
    assert {image.partition(":")[0] for image in named} == {
        "caddy",
        "grafana/grafana",
        "postgres",
        "prom/prometheus",
        "python",
    }


def test_only_this_machine_reaches_what_is_published():
    published = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in services("--profile=*").items()
        if "ports" in service and name != "caddy"
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


def test_caddy_does_not_start_without_a_domain():
    shell, option, script = services("--profile=*")["caddy"]["command"]
    seen = subprocess.run(
        [shell, option, script.replace("$$", "$")], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )

    assert seen.returncode != 0
    assert "Put COSTCURVE_DOMAIN into .env" in seen.stderr
