"""The images, built for real, and the compose file, started for real: on a Docker engine, or not at all."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.engine import Compose, docker, make_secrets, why_missing
from tests.helpers.processes import free_port

_HERE = Path(__file__).parent
# Building both images from nothing waits for a gigabyte from the net.
BUILDING = 540.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.deploy)
            item.add_marker(pytest.mark.timeout(BUILDING + 60))


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    if reason := why_missing():
        pytest.skip(f"skipped: no Docker engine can be used: {reason}")


@pytest.fixture(scope="session")
def tag() -> str:
    """The tag of this run's images, and the name of its containers."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def images(tag: str) -> Iterator[dict[str, str]]:
    """Both images, by service."""
    settings = {"COSTCURVE_TAG": tag, "COSTCURVE_SECRETS": "/unused", "BUILD_VERSION": "9.9", "BUILD_REVISION": "abc"}
    compose = Compose(f"costcurve-{tag}", settings)
    compose("build", "service", "worker", timeout=BUILDING)
    built = {name: f"costcurve-{name}:{tag}" for name in ("service", "worker")}
    yield built
    docker("image", "rm", "--force", *built.values())


@pytest.fixture(scope="module")
def compose(
    tag: str, images: dict[str, str], mnist_dir: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Compose]:
    """All of the compose file that starts by itself, one worker of it, up and healthy."""
    # Characters that mean something in a URL, to a shell, to psql and to compose itself.
    passwords = {f"database_{role}_password": f"{role}:b/c@d %41$e'\"#\\" for role in ("admin", "owner", "app")}
    compose = Compose(
        f"costcurve-{tag}",
        {
            "COSTCURVE_TAG": tag,
            "COSTCURVE_PORT": str(free_port()),
            "COSTCURVE_PROXY_NETWORK": f"192.168.{secrets.randbelow(100) + 100}.0/29",
            "COSTCURVE_SECRETS": str(make_secrets(tmp_path_factory.mktemp("deploy") / "secrets", **passwords)),
        },
    )
    if mnist_dir is not None:
        compose.settings["COSTCURVE_MNIST"] = str(mnist_dir.absolute())
    try:
        compose("up", "--detach", "--wait", timeout=240)
        yield compose
    finally:
        compose("down", "--volumes", "--remove-orphans", timeout=120)
