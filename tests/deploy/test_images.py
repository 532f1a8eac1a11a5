"""The images: each holds what it runs and nothing else."""

import json

import pytest

from tests.deploy.engine import docker, inspect


def run(image: str, *command: str, check: bool = True):
    """A command in a container as compose makes them: nothing to write to but /tmp, no network, no privileges."""
    limits = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
    return docker("run", "--rm", "--init", *limits, image, *command, check=check)


def test_the_service_has_no_torch_and_no_pip(images):
    found = "import importlib.util; print([name for name in ('torch', 'pip') if importlib.util.find_spec(name)])"

    assert run(images["service"], "python", "-c", found).stdout == "[]\n"


def test_the_worker_has_the_compiled_engine_for_any_processor_and_the_cpu_build_of_torch(images):
    asks = (
        "import torch; from workers.engines import fused_cpu; "
        "print(torch.version.cuda, fused_cpu.why_missing(), torch.__version__.split('+')[0])"
    )

    assert run(images["worker"], "python", "-c", asks).stdout == "None None 2.13.0\n"


@pytest.mark.parametrize("name", ["service", "worker"])
def test_an_image_has_no_compiler_no_tests_and_none_of_what_a_build_leaves(images, name):
    looks = "for each in cc gcc g++ cmake ninja; do command -v $each; done; ls -A /build /var/lib/costcurve; true"
    seen = run(images[name], "sh", "-c", looks)
    assert seen.stdout.split() == ["/var/lib/costcurve:", "checkpoints", "keys"]

    assert "ModuleNotFoundError" in run(images[name], "python", "-c", "import tests", check=False).stderr


@pytest.mark.parametrize("name", ["service", "worker"])
def test_an_image_runs_as_a_user_who_owns_none_of_its_programs(images, name):
    looks = (
        "id -u; find /opt/costcurve ! -user root | head -3;"
        " touch /opt/costcurve/x 2>/dev/null || echo refused; touch /tmp/x && echo taken"
    )

    assert run(images[name], "sh", "-c", looks).stdout.split() == ["10001", "refused", "taken"]


@pytest.mark.parametrize("name", ["service", "worker"])
def test_an_image_says_what_it_is_and_how_it_is_stopped_and_looked_after(images, name):
    config = json.loads(inspect(images[name], "{{json .Config}}"))
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}

    assert (labels["title"], labels["licenses"], labels["version"]) == ("CostCurve", "MIT", "9.9")
    assert labels["revision"] == "abc"
    assert labels["description"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
