"""What the images install is pinned with hashes, and an audit that could not ask does not pass."""

import re
import runpy
import sys
import tomllib

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "docker"
FILES = sorted((FOLDER / "requirements").glob("*.txt"))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
audit = runpy.run_path(str(FOLDER / "audit.py"))
requirements = runpy.run_path(str(FOLDER / "requirements.py"))["requirements"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(name: str) -> dict[str, tuple[str, list[str]]]:
    """The version and the hashes of each package in a file, or in several."""
    text = "".join((FOLDER / "requirements" / f"{each}.txt").read_text() for each in name.split("+"))
    found = re.findall(r"^([\w.-]+)==([^\s;]+).*((?:\n .*)*)", text, re.MULTILINE)
    return {
        normal(name): (version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", rest)) for name, version, rest in found
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_package_has_its_hashes_and_the_tested_version(file):
    tested = {
        normal(name): version
        for name, version in re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    }
    pinned = entries(file.stem)

    assert len(pinned) == len(re.findall(r"^\w", file.read_text(), re.MULTILINE))
    assert [name for name, (_, hashes) in pinned.items() if not hashes] == []
    versions = {name: version.removesuffix("+cpu") for name, (version, _) in pinned.items() if name in tested}
    assert versions == {name: tested[name] for name in versions}, "say: make hashes"


@pytest.mark.parametrize(
    ("extra", "files"),
    [
        ("service", "service"),
        ("worker", "worker+torch-cpu"),
        ("worker", "worker+torch-cuda"),
        ("ray", "worker+torch-cpu+ray"),
    ],
)
def test_the_files_have_every_requirement_of_their_extra(extra, files):
    project = PROJECT["project"]
    wanted = {
        normal(re.match(r"[\w.-]+", line)[0]) for line in [*requirements(project, ""), *requirements(project, extra)]
    }

    assert wanted <= entries(files).keys(), "say: make hashes"


def test_the_builder_has_what_the_projects_builds_require():
    native = tomllib.loads((ROOT / "workers/engines/native/pyproject.toml").read_text())
    wanted = [line.split("==") for each in (PROJECT, native) for line in each["build-system"]["requires"]]

    assert {name: entries("build")[name][0] for name, _ in wanted} == dict(wanted), "say: make hashes"


def test_torch_is_the_pinned_one_and_its_build_for_cpus_brings_no_gpu_library():
    [pin] = [line for line in PROJECT["project"]["optional-dependencies"]["worker"] if line.startswith("torch==")]
    version = pin.removeprefix("torch==")

    assert entries("torch-cpu").keys() == {"torch"}
    assert entries("torch-cpu")["torch"][0] == f"{version}+cpu"
    assert entries("torch-cuda")["torch"][0] == version
    assert [name for name in entries("worker") if re.match("nvidia|cuda|triton|torch", name)] == []


def test_the_images_install_nothing_without_a_hash():
    installs = re.findall(r"(?:index-pip|python -m pip) install (.*)$", DOCKERFILE, re.MULTILINE)
    installed = set(re.findall(r"--requirement \"?([\w$-]+)\.txt", DOCKERFILE))

    assert len(installs) == 7
    assert [each for each in installs if "--require-hashes" not in each and "--no-index --no-deps" not in each] == []
    assert installed == {"service", "worker", "ray", "build", "torch-$TORCH"}
    assert {file.stem for file in FILES} == installed - {"torch-$TORCH"} | {"torch-cpu", "torch-cuda"}


def test_an_audit_passes_only_if_every_package_was_audited():
    def package(name: str, **more: object) -> dict:
        return {"name": name, "version": "1.0", **more}

    clean, unknown = package("clean", vulns=[]), {"name": "unknown", "skip_reason": "not found"}
    bad = package("bad", vulns=[{"id": "PYSEC-1", "fix_versions": ["1.1"]}])

    assert audit["judge"]({"dependencies": [clean]}, 1) == (0, ["1 of 1 packages audited, 0 known vulnerabilities"])
    code, lines = audit["judge"]({"dependencies": [clean, unknown]}, 2)
    assert (code, lines[0]) == (audit["NOT_AUDITED"], "unknown: not found")
    assert audit["judge"]({"dependencies": [clean]}, 2)[0] == audit["NOT_AUDITED"]
    code, lines = audit["judge"]({"dependencies": [bad, unknown]}, 2)
    assert (code, lines[0]) == (audit["VULNERABLE"], "bad 1.0: PYSEC-1, fixed in 1.1")


def test_an_audit_without_an_answer_fails_and_says_so(monkeypatch, capsys):
    """Here pip-audit is not even installed."""
    monkeypatch.setattr(sys, "argv", ["audit.py", str(ROOT / "constraints.txt")])

    assert audit["main"]() == audit["NOT_AUDITED"]
    assert "Nothing was audited" in capsys.readouterr().err


def test_an_audit_asks_for_each_pinned_version_once():
    pins = audit["pins"]([(ROOT / "constraints.txt").read_text(), *(file.read_text() for file in FILES)])

    assert {"torch==2.13.0", "ray==2.60.0", "hatchling==1.33.0", "pyyaml==6.0.3"} <= {*pins}
    assert len({pin.partition("==")[0] for pin in pins}) == len(pins)
