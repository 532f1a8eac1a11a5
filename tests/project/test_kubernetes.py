"""The manifests of deploy/kubernetes: what the API would take, and what agrees with the programs and their images."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import ValidationError

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

    assert named | settings["data"].keys() <= documented


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_every_value_of_a_setting_is_taken(container, monkeypatch):
    [settings] = documents(FOLDER / "settings.yaml")
    given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    for name, value in {**settings["data"], **given}.items():
        monkeypatch.setenv(name, value)

    Settings()  # raises, if not


def test_the_databases_url_comes_from_a_secret_that_nobody_has_made_up():
    for container in CONTAINERS.values():
        [url] = [variable for variable in container["env"] if variable["name"] == "COSTCURVE_DATABASE_URL"]
        assert url["valueFrom"] == {"secretKeyRef": {"name": "costcurve-database", "key": "url"}}
    assert [each for each in OBJECTS if each.values[0]["kind"] == "Secret"] == []


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
    assert "memory" in container["resources"]["limits"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_every_pod_has_the_time_to_end_in_order():
    pods = {pod.id: pod.values[0] for pod in PODS}
    variables = {each["name"]: each.get("value") for each in CONTAINERS["Deployment costcurve-service"]["env"]}

    for name in ("Deployment costcurve-worker", "Deployment costcurve-worker-gpu"):
        assert pods[name]["terminationGracePeriodSeconds"] > DEADLINE
    drain_and_finish = float(variables["COSTCURVE_DRAIN_SECONDS"]) + 3
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
