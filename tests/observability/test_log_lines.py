"""What a real service and real workers log, as JSON."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from costcurve.runtime.logging import bound, configure_logging
from tests.conftest import ROOT
from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until

_FIELDS = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "logs.md").read_text(), re.MULTILINE)
DOCUMENTED = {field for fields in _FIELDS for field in re.findall(r"`(\w+)`", fields)}


def lines(deployment: Deployment, program: str) -> list[dict]:
    return [json.loads(line) for line in (deployment.home / f"{program}.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path | None) -> Iterator[Deployment]:
    settings = {"COSTCURVE_LOG_FORMAT": "json", "COSTCURVE_LOG_LEVEL": "debug"}
    with Deployment(tmp_path_factory.mktemp("home"), mnist_dir, settings) as deployment:
        deployment.start_service()
        deployment.start_workers()
        yield deployment


def test_a_job_costs_two_lines_and_each_says_job_attempt_worker_and_sweep(deployment):
    grid = {"learning_rate": [0.1, 0.2, 0.3]}
    body = {"spec": {"experiment": "neuron"}, "grid": grid}
    sweep = plain_http.post(f"{deployment.url}/v1/sweeps", json=body).raise_for_status().json()
    jobs = plain_http.get(f"{deployment.url}/v1/jobs", params={"sweep_id": sweep["id"]}).json()["items"]
    for job in jobs:
        deployment.ended(job["id"])
    for job in jobs:
        begins, ends = until(
            lambda job=job: [line for line in lines(deployment, "workers") if line.get("job_id") == job["id"]],
            lambda found: len(found) >= 2,
        )

        assert {line["attempt"] for line in (begins, ends)} == {1}
        assert {line["sweep_id"] for line in (begins, ends)} == {sweep["id"]}
        assert begins["worker_id"] == ends["worker_id"]
        assert (begins["device"], begins["step"], ends["outcome"]) == ("cpu", 0, "succeeded")
        assert ends["seconds"] >= 0


def test_the_load_of_the_data_set_is_told_with_the_job_that_it_is_for(deployment):
    job = deployment.submit({"experiment": "mnist", "epochs": 1, "steps_per_epoch": 10})
    deployment.ended(job)
    [served] = [line for line in lines(deployment, "workers") if "MNIST is served by" in line["event"]]

    assert (served["job_id"], served["attempt"]) == (job, 1)


def test_a_request_is_one_line_with_its_route_and_its_id_is_in_the_answer(deployment):
    job = deployment.submit({"experiment": "neuron"})
    answer = plain_http.get(f"{deployment.url}/v1/jobs/{job}", headers={"X-Request-ID": "mine-1"})
    [line] = until(
        lambda: [line for line in lines(deployment, "service") if line.get("request_id") == "mine-1"],
        lambda found: found,
    )

    assert answer.headers["X-Request-ID"] == "mine-1"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs/{job_id}", 200)
    assert (line["level"], line["job_id"]) == ("info", job)
    assert line["milliseconds"] > 0


@pytest.mark.parametrize("bad", ["x" * 129, "two words", "caf\u00e9"])
def test_a_request_id_that_is_too_long_or_not_visible_is_replaced(deployment, bad):
    answer = plain_http.get(f"{deployment.url}/v1/version", headers={"X-Request-ID": bad.encode("latin-1")})

    assert re.fullmatch(r"req_[0-9a-f]{20}", answer.headers["X-Request-ID"])


def test_probes_are_told_at_debug_only(deployment):
    for path in ("/healthz", "/readyz", "/metrics"):
        plain_http.get(f"{deployment.url}{path}").raise_for_status()
        told = until(
            lambda path=path: [line for line in lines(deployment, "service") if line.get("route") == path],
            lambda found: found,
        )
        assert {line["level"] for line in told} == {"debug"}


def test_every_line_has_the_documented_fields_and_no_other(deployment):
    for program in ("service", "workers"):
        for line in lines(deployment, program):
            assert {"timestamp", "level", "logger", "event"} <= set(line) <= DOCUMENTED, line


def test_the_password_of_the_database_is_in_no_log(tmp_path):
    url = "postgresql://ada:s3cret-word@127.0.0.1:1/none"
    environment = {"COSTCURVE_DATABASE_URL": url, "COSTCURVE_LOG_LEVEL": "debug"}
    with Deployment(tmp_path, environment=environment) as deployment:
        for program in ("service", "workers"):
            assert deployment._start([program]).wait(120) == 1
            text = (tmp_path / f"{program}.log").read_text()

            assert "cannot start" in text
            assert "s3cret" not in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://ada:{}@host/db", "postgresql://ada:***@host/db"),
        ("postgresql://host/db?user=ada&password={}&connect_timeout=5", "db?user=ada&password=***&connect_timeout=5"),
        ("postgresql://host/db?sslpassword={}", "db?sslpassword=***"),
        ("host=here PASSWORD={} dbname=db", "host=here PASSWORD=*** dbname=db"),
        ("the key cck_0123456789ab_{}-_x", "the key cck_0123456789ab_***"),
        ("Authorization: Bearer {}", "Authorization: Bearer ***"),
        ("authorization=Basic {};", "authorization=Basic ***;"),
        ("(b'authorization', b'Bearer {}')", "(b'authorization', b'Bearer ***')"),
    ],
)
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_password_in_a_message_or_a_traceback_is_not_shown(log_format, given, shown):
    script = (
        "import logging; from costcurve.runtime.logging import configure_logging; "
        f"configure_logging(log_format={log_format!r}); "
        f"url = {given!r}.format('s3' + 'cret')\n"
        "try: raise ValueError(url)\n"
        "except ValueError: logging.getLogger('x').exception('no: %s', url)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stderr.count(shown) == 2
    assert "s3cret" not in done.stderr


def test_bound_fields_hold_inside_and_no_longer(capsys, restored_logging):
    configure_logging(log_format="json", worker_id="wrk_1")
    log = logging.getLogger("test")
    with bound({"job_id": "job_1"}):
        log.info("inside", extra={"seconds": 2})
    log.info("outside")
    inside, outside = map(json.loads, capsys.readouterr().err.splitlines())

    assert (inside["worker_id"], inside["job_id"], inside["seconds"]) == ("wrk_1", "job_1", 2)
    assert (outside["worker_id"], "job_id" in outside) == ("wrk_1", False)


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # `configure_logging` closes what it replaces, and these are pytest's
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOG_FORMAT", "xml", "Input should be 'console' or 'json'"),
        ("LOG_LEVEL", "loud", "Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("METRICS_PORT", "70000", "must be a whole number from 0 to 65535, not '70000'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(tmp_path, name, value, said):
    with Deployment(tmp_path, environment={f"COSTCURVE_{name}": value}) as deployment:
        assert deployment.start_workers().wait(120) == 1

    assert (tmp_path / "workers.log").read_text() == f"COSTCURVE_{name}: {said}\n"


def test_what_a_client_puts_into_a_path_neither_moves_a_cursor_nor_forges_a_line(tmp_path):
    with Deployment(tmp_path, environment={"COSTCURVE_LOG_FORMAT": "console"}) as deployment:
        deployment.start_service()
        for path in ("a%1b[2J%c2%9b1m%e2%80%aegpj", "b%0aforged%e2%80%a8", "x" * 20_000):
            plain_http.get(f"{deployment.url}/v1/jobs/{path}")
        text = until(lambda: (deployment.home / "service.log").read_bytes().decode(), lambda text: "xxx" in text)

    assert {character for character in text if not character.isprintable()} <= {"\n"}
    assert r"a\x1b[2J\x9b1m\u202egpj" in text.replace("\\\\", "\\")
    assert r"b\nforged\u2028" in text.replace("\\\\", "\\")
    assert all(len(line) < 1_000 for line in text.splitlines())


def test_a_traceback_in_a_log_for_people_has_its_lines_and_no_controls():
    program = """
import logging
from costcurve.runtime.logging import configure_logging
configure_logging()
try:
    raise ValueError("a\\x1b[2Jb\\u202ec")
except ValueError:
    logging.getLogger("x").exception("it\\nfailed")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert r"it\nfailed" in run.stderr
    assert r"ValueError: a\x1b[2Jb\u202ec" in run.stderr.splitlines()
