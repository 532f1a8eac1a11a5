"""The manifests of deploy/kubernetes: what the API would take, and what agrees with the programs and their images."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import ValidationError
from sqlalchemy import make_url

from costcurve.runtime.settings import Settings
from service.app import create_app
from service.http.origins import PROBES
from tests.conftest import ROOT
from workers.supervisor import DEADLINE

FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.37"
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


OBJECTS = [
    pytest.param(each, id=f"{each['kind']} {each['metadata']['name']}") for path in FILES for each in documents(path)
]
PODS = [
    pytest.param(each.values[0]["spec"]["template"]["spec"], id=each.id)
    for each in OBJECTS
    if each.values[0]["kind"] in {"Deployment", "Job"}
]
CONTAINERS = {pod.id: pod.values[0]["containers"][0] for pod in PODS}


@pytest.mark.parametrize("manifest", OBJECTS)
def test_every_manifest_is_as_its_schema_says_to_the_last_field(manifest):
    assert kubernetes_validate.validate(manifest, KUBERNETES, strict=True) == KUBERNETES


def test_a_field_that_does_not_exist_would_be_seen():
    [manifest] = documents(FOLDER / "migrate.yaml")
    manifest["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1

    with pytest.raises(ValidationError, match="terminationGraceSeconds"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("folder", [FOLDER, FOLDER / "gpu"], ids=["all", "gpu"])
def test_a_kustomization_names_every_manifest_beside_it(folder):
    [kustomization] = documents(folder / "kustomization.yaml")
    named = {name for name in kustomization["resources"] if name != ".."}

    assert named == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}


def test_the_images_are_targets_of_the_dockerfile_and_of_this_version():
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    [kustomization] = documents(FOLDER / "kustomization.yaml")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    named = {container["image"].partition(":")[0] for container in CONTAINERS.values()}

    assert {name.removeprefix("costcurve-") for name in named} == {"service", "worker"} <= targets
    assert {(image["name"], image["newTag"]) for image in kustomization["images"]} == {
        (name, version) for name in named
    }


def test_every_variable_is_a_documented_setting():
    documented = set(
        re.findall(r"^\| `(COSTCURVE_[A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    )
    [settings] = documents(FOLDER / "settings.yaml")
    named = {variable["name"] for container in CONTAINERS.values() for variable in container["env"]}

    # The others are libpq's own.
    assert {name for name in named | settings["data"].keys() if not name.startswith("PG")} <= documented


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Environment of a container: the shared settings, and its own instead of those."""
    [settings] = documents(FOLDER / "settings.yaml")
    return settings["data"] | {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_every_value_of_a_setting_is_taken(container, monkeypatch, tmp_path):
    for name, value in variables(container).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("COSTCURVE_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))

    Settings()  # raises, if not


@pytest.mark.parametrize("pod", PODS)
def test_each_program_gets_the_password_of_its_role_as_a_file_and_no_other(pod):
    [container] = pod["containers"]
    seen = variables(container)
    role = make_url(seen["COSTCURVE_DATABASE_URL"]).username.removeprefix("costcurve_")
    [secret] = [volume for volume in pod["volumes"] if "secret" in volume]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == secret["name"]]

    assert role == ("owner" if container["name"] == "migrate" else "app")
    assert secret["secret"] == {"secretName": f"costcurve-database-{role}", "defaultMode": 0o440}
    assert seen["COSTCURVE_DATABASE_PASSWORD_FILE"] == f"{mount['mountPath']}/password"
    assert mount["readOnly"]
    assert pod["securityContext"]["fsGroup"] == 10001
    assert "valueFrom" not in str(container["env"])


def test_no_secret_is_made_up():
    assert [each for each in OBJECTS if each.values[0]["kind"] == "Secret"] == []


def test_the_roles_are_those_that_the_script_creates():
    script = (ROOT / "deploy" / "postgres" / "roles.sql").read_text()
    named = {make_url(variables(each)["COSTCURVE_DATABASE_URL"]).username for each in CONTAINERS.values()}

    assert named == set(re.findall(r"ALTER ROLE (\w+) LOGIN", script)) == {"costcurve_owner", "costcurve_app"}


POLICIES = {
    each.values[0]["metadata"]["name"]: each.values[0]["spec"]
    for each in OBJECTS
    if each.values[0]["kind"] == "NetworkPolicy"
}
COMPONENTS = {"service", "worker", "worker-gpu", "migrate"}


def selected(policy: dict[str, Any]) -> set[str]:
    """The components that a policy, or a source in one, names."""
    selector, component = policy["podSelector"], "app.kubernetes.io/component"
    if "matchLabels" in selector:
        return {selector["matchLabels"][component]}
    [expression] = selector["matchExpressions"]
    assert (expression["key"], expression["operator"]) == (component, "In")
    return {*expression["values"]}


def test_what_no_policy_allows_is_denied():
    assert POLICIES["costcurve-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_policies_are_for_pods_that_exist_and_name_their_ports():
    labels = {
        each.values[0]["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for each in OBJECTS
        if each.values[0]["kind"] in {"Deployment", "Job"}
    }
    ports = {port["name"] for container in CONTAINERS.values() for port in container.get("ports", [])}
    named = {
        port["port"]
        for policy in POLICIES.values()
        for rule in policy.get("ingress", [])
        for port in rule["ports"]
        if isinstance(port["port"], str)
    }

    assert labels == COMPONENTS
    assert named == ports == {"http", "metrics"}
    assert {each for name, policy in POLICIES.items() if name != "costcurve-deny" for each in selected(policy)} == {
        *COMPONENTS,
        "database",
    }


def test_the_database_is_reached_by_costcurves_pods_and_by_no_others():
    outgoing, incoming = POLICIES["costcurve-to-database"], POLICIES["costcurve-database"]
    [rule] = incoming["ingress"]
    [source] = rule["from"]

    assert selected(outgoing) == COMPONENTS
    assert selected(incoming) == {"database"}
    assert selected(source) == COMPONENTS
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert [each for each in outgoing["egress"] if each["ports"] == rule["ports"]]


def test_clients_do_not_reach_the_metrics_and_scrapers_nothing_else():
    def admitted(name: str) -> tuple[Any, Any]:
        [rule] = POLICIES[name]["ingress"]
        return rule["from"], [port["port"] for port in rule["ports"]]

    def namespace(label: str) -> list[dict[str, Any]]:
        return [{"namespaceSelector": {"matchLabels": {label: "true"}}}]

    assert admitted("costcurve-service") == (namespace("costcurve-client"), ["http"])
    assert admitted("costcurve-metrics") == (namespace("costcurve-metrics"), ["metrics"])


def test_probes_ask_for_routes_that_exist(store):
    routes = create_app(store._database).openapi()["paths"]
    container = CONTAINERS["Deployment costcurve-service"]
    asked = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}

    assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert all("get" in routes[path] for path in asked.values())


@pytest.mark.parametrize("pod", PODS)
def test_every_pod_may_do_as_little_as_it_can(pod):
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_every_pod_has_the_time_to_end_in_order():
    pods = {pod.id: pod.values[0] for pod in PODS}

    for name in ("Deployment costcurve-worker", "Deployment costcurve-worker-gpu"):
        assert pods[name]["terminationGracePeriodSeconds"] > DEADLINE
    drain_and_finish = float(variables(CONTAINERS["Deployment costcurve-service"])["COSTCURVE_DRAIN_SECONDS"]) + 3
    assert pods["Deployment costcurve-service"]["terminationGracePeriodSeconds"] > drain_and_finish


def test_the_service_answers_for_its_names_in_the_cluster_and_its_probes_go_by_ip():
    container = next(each for each in CONTAINERS.values() if each["name"] == "service")
    [value] = [each["value"] for each in container["env"] if each["name"] == "COSTCURVE_ALLOWED_HOSTS"]
    hosts = Settings(allowed_hosts=value).hosts_at(is_loopback=False)
    [service] = [each for each in documents(FOLDER / "service.yaml") if each["kind"] == "Service"]
    [kustomization] = documents(FOLDER / "kustomization.yaml")
    name = service["metadata"]["name"]

    assert {name, f"{name}.{kustomization['namespace']}.svc.cluster.local", "localhost"} <= hosts
    probes = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert set(probes) <= PROBES
