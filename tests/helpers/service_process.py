"""Real service processes, shared by the tests of one module."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.processes import Deployment


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service without workers: what is queued stays queued."""
    with Deployment(Path(tmp_path_factory.mktemp("home"))) as deployment:
        deployment.start_service()
        yield deployment


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service with a worker."""
    with Deployment(Path(tmp_path_factory.mktemp("home"))) as deployment:
        deployment.start_workers()
        deployment.start_service()
        yield deployment


@pytest.fixture
def http(service: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as client:
        yield client
