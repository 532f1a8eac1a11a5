"""Prometheus and promtool: as installed, or Debian's package unpacked into the user's cache."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs
import pytest

_CACHE = Path(platformdirs.user_cache_dir("costcurve")) / "prometheus"


@pytest.fixture(scope="session")
def prometheus_tools() -> Path:
    """The folder of the programs `prometheus` and `promtool`."""
    installed, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if installed and promtool and Path(installed).parent == Path(promtool).parent:
        return Path(installed).parent
    if not _CACHE.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            pytest.skip("Prometheus is not installed, and this is no Debian, whose package could be used")
        _unpack()
    return _CACHE


def _unpack() -> None:
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE.parent) as folder:
        if not _download(folder) and (os.geteuid() != 0 or not (_update() and _download(folder))):
            pytest.skip("Prometheus is not installed, and apt-get cannot download Debian's package")
        [package] = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, f"{folder}/unpacked"], check=True, timeout=120)
        try:
            Path(folder, "unpacked", "usr", "bin").rename(_CACHE)
        except OSError:
            assert _CACHE.exists()  # another test process was faster


def _download(folder: str) -> bool:
    done = subprocess.run(
        ["apt-get", "download", "prometheus"], cwd=folder, timeout=120, capture_output=True, check=False
    )
    return done.returncode == 0


def _update() -> bool:
    return subprocess.run(["apt-get", "update"], timeout=120, capture_output=True, check=False).returncode == 0
